//! Looking up many names that mostly come in the order of the map.

use std::cmp::Ordering;
use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;

/// A place in a map that goes along with the names that are looked up.
///
/// The users of a report come in an order that is that of their names but for upper and lower case, so
/// the next entry mostly is the one that is asked for. To find each from the map's root leaves the
/// processor's caches where there are many.
pub struct Ascending<'a, V> {
    map: &'a BTreeMap<String, V>,
    rest: Peekable<btree_map::Iter<'a, String, V>>,
    /// The greatest name so far: what comes before it is no longer in `rest`.
    reached: &'a str,
}

impl<'a, V> Ascending<'a, V> {
    /// At the map's beginning.
    pub fn new(map: &'a BTreeMap<String, V>) -> Ascending<'a, V> {
        Ascending { map, rest: map.iter().peekable(), reached: "" }
    }

    /// The value of this name, in whatever order names are asked for.
    pub fn get(&mut self, name: &'a str) -> Option<&'a V> {
        if name < self.reached {
            return self.map.get(name);
        }
        self.reached = name;
        loop {
            let (key, value) = *self.rest.peek()?;
            match key.as_str().cmp(name) {
                Ordering::Less => _ = self.rest.next(),
                Ordering::Equal => return Some(value),
                Ordering::Greater => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_what_the_map_has(
            map in proptest::collection::btree_map("[abAB]{0,3}", 0..100, 0..40),
            mut names in proptest::collection::vec("[abAB]{0,3}", 0..60),
            is_sorted in any::<bool>(),
        ) {
            if is_sorted {
                names.sort_by_key(|name| name.to_lowercase());
            }
            let mut ascending = Ascending::new(&map);
            for name in &names {
                prop_assert_eq!(ascending.get(name), map.get(name), "{}", name);
            }
        }
    }
}
