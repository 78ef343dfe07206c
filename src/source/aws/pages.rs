//! Lists that AWS gives in pages. A list that lacks a part must not pass for a whole one.

use std::collections::HashSet;

use super::sdk::Operation;
use crate::failure::{Failure, Reason};

/// The marker of the next part of a list.
#[derive(Debug)]
pub struct Pages {
    operation: Operation,
    marker: Option<String>,
    seen: HashSet<String>,
}

impl Pages {
    /// Before the first page.
    pub fn of(operation: Operation) -> Pages {
        Pages { operation, marker: None, seen: HashSet::new() }
    }

    /// The marker of the next page. The first has none.
    pub fn marker(&self) -> Option<String> {
        self.marker.clone()
    }

    /// Whether there is a further page, according to this one. Fails if it is not the last and names no next
    /// one, or one that was already read.
    pub fn go_on(&mut self, is_truncated: bool, marker: Option<String>) -> Result<bool, Failure> {
        self.marker = marker.filter(|_| is_truncated);
        let is_new = self.marker.clone().is_some_and(|marker| self.seen.insert(marker));
        if is_truncated && !is_new {
            let name = self.operation.as_str();
            let message = format!("{name}: a list without an end, the same page again and again");
            return Err(Failure::new(Reason::ServiceError, message));
        }
        Ok(is_truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_with_its_last_page_and_fails_without_one() {
        // Each page: whether there are more, and the marker of the next one.
        type Page = (bool, Option<&'static str>);
        let read = |pages: &[Page]| {
            let mut list = Pages::of(Operation::ListVirtualMfaDevices);
            let mut results = pages.iter().map(|(is_truncated, marker)| {
                list.go_on(*is_truncated, marker.map(str::to_owned)).ok()
            });
            results.by_ref().last().expect("a page")
        };
        for (pages, expected) in [
            (&[(false, None)][..], Some(false)),
            (&[(false, Some("a"))], Some(false)),
            (&[(true, Some("a")), (true, Some("b"))], Some(true)),
            (&[(true, Some("a")), (true, Some("b")), (false, None)], Some(false)),
            (&[(true, None)], None),
            (&[(true, Some("a")), (true, Some("a"))], None),
            (&[(true, Some("a")), (true, Some("b")), (true, Some("a"))], None),
        ] {
            assert_eq!(read(pages), expected, "{pages:?}");
        }
    }
}
