//! Lists that AWS gives in pages. A list that lacks a part must not pass for a whole one.

use std::collections::HashSet;

use super::sdk::Operation;
use crate::failure::{Failure, Reason};

/// What follows a page: whether there are more, and the marker of the next one.
pub type Next = (bool, Option<String>);

/// Reads a list to its end. `ask` asks for the page of a marker, of which the first has none, and `take` takes
/// the page and returns what follows. Fails if a page is not the last and names no next one, or one that was
/// already read.
pub async fn read_pages<P, E: From<Failure>, F: Future<Output = Result<P, E>>>(
    operation: Operation,
    ask: impl Fn(Option<String>) -> F,
    mut take: impl FnMut(P) -> Result<Next, E>,
) -> Result<(), E> {
    let (mut marker, mut seen) = (None, HashSet::new());
    loop {
        let (is_truncated, next) = take(ask(marker).await?)?;
        if !is_truncated {
            return Ok(());
        }
        marker = next.filter(|next| seen.insert(next.clone()));
        if marker.is_none() {
            let name = operation.as_str();
            let message = format!("{name}: a list without an end, the same page again and again");
            return Err(Failure::new(Reason::ServiceError, message).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn a_list_ends_with_its_last_page_and_fails_without_one() {
        // Each page: whether there are more, and the marker of the next one.
        type Page = (bool, Option<&'static str>);
        for (pages, expected) in [
            (&[(false, None)][..], Ok(())),
            (&[(false, Some("a"))], Ok(())),
            (&[(true, Some("a")), (true, Some("b")), (false, None)], Ok(())),
            (&[(true, None)], Err(())),
            (&[(true, Some("a")), (true, Some("a"))], Err(())),
            (&[(true, Some("a")), (true, Some("b")), (true, Some("a"))], Err(())),
        ] {
            let asked = RefCell::new(Vec::new());
            let ask = |marker| {
                asked.borrow_mut().push(marker);
                let page: Page = pages[asked.borrow().len() - 1];
                async move { Ok::<Page, Failure>(page) }
            };
            let take = |(is_truncated, marker): Page| Ok((is_truncated, marker.map(str::to_owned)));
            let read = read_pages(Operation::ListVirtualMfaDevices, ask, take).await;
            assert_eq!(read.map_err(|_| ()), expected, "{pages:?}");
            let markers = pages.iter().map(|(_, marker)| marker.map(str::to_owned));
            let markers: Vec<_> = [None].into_iter().chain(markers).take(pages.len()).collect();
            assert_eq!(asked.into_inner(), markers, "{pages:?}");
        }
    }
}
