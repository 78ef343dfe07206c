//! Stores repeated texts once: regions, services, the keys and values of tags.

use std::collections::HashSet;
use std::sync::Arc;

/// Keeps each text once, and shares it. That saves memory, and the few texts stay in the
/// processor's caches.
#[derive(Debug, Default)]
pub struct Interner(HashSet<Arc<str>>);

impl Interner {
    /// The shared copy of this text.
    pub fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        self.0.insert(text.clone());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one() {
        let mut interner = Interner::default();
        let [a, b, other] = ["s3", "s3", "sts"].map(|text| interner.share(text));
        assert!(Arc::ptr_eq(&a, &b));
        assert_eq!((&*a, &*other), ("s3", "sts"));
    }
}
