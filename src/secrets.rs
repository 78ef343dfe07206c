//! The known secrets, and how they are masked in text.
//!
//! Messages are built from parts that hold no secret. This is the second line of defense: an answer
//! of AWS or a proxy can repeat a secret. The list is one for the whole process, because log lines
//! and failures come from everywhere.

use std::collections::{HashMap, VecDeque};
use std::sync::{LazyLock, PoisonError, RwLock};

/// Replaces each secret in a text.
pub const MASK: &str = "***";

/// A shorter secret could be an ordinary word.
const MIN_LENGTH: usize = 6;
/// Only this much of a longer secret is kept. The rest is masked to the end of the word.
const KEPT_LENGTH: usize = 64;
/// Two secrets, each in two spellings, for 5,000 accounts with a role. Then the oldest go.
const MAX_SECRETS: usize = 20_000;

static KNOWN: LazyLock<RwLock<Secrets>> = LazyLock::new(RwLock::default);

/// Masks this secret from now on.
pub fn add(secret: &str) {
    KNOWN.write().unwrap_or_else(PoisonError::into_inner).add(secret);
}

/// The text without the secrets that are known.
pub fn mask(text: &str) -> String {
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).mask(text)
}

type Start = [u8; MIN_LENGTH];

#[derive(Debug, Default)]
struct Secrets {
    /// By their first bytes, so that the time to mask a text does not grow with their number.
    by_start: HashMap<Start, Vec<String>>,
    oldest_first: VecDeque<String>,
}

impl Secrets {
    fn add(&mut self, secret: &str) {
        let secret = secret.trim();
        self.add_spelling(secret);
        // As in a form or a URL.
        let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        self.add_spelling(&encoded);
    }

    fn add_spelling(&mut self, secret: &str) {
        let kept = &secret[..secret.floor_char_boundary(KEPT_LENGTH)];
        let Some(start) = start_of(kept.as_bytes()) else { return };
        let same_start = self.by_start.entry(start).or_default();
        if same_start.iter().any(|known| known == kept) {
            return;
        }
        same_start.push(kept.to_owned());
        // The longest first: a secret can begin like another one.
        same_start.sort_by_key(|known| std::cmp::Reverse(known.len()));
        self.oldest_first.push_back(kept.to_owned());
        if self.oldest_first.len() > MAX_SECRETS {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.oldest_first.pop_front() else { return };
        let start = start_of(oldest.as_bytes()).expect("only long enough ones are kept");
        if let Some(same_start) = self.by_start.get_mut(&start) {
            same_start.retain(|known| *known != oldest);
            if same_start.is_empty() {
                self.by_start.remove(&start);
            }
        }
    }

    fn mask(&self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            match self.length_at_start(rest) {
                Some(length) => {
                    masked.push_str(MASK);
                    rest = &rest[length..];
                }
                None => {
                    masked.push(next);
                    rest = &rest[next.len_utf8()..];
                }
            }
        }
        masked
    }

    /// The length of the secret that the text begins with.
    fn length_at_start(&self, text: &str) -> Option<usize> {
        let candidates = self.by_start.get(&start_of(text.as_bytes())?)?;
        let secret = candidates.iter().find(|secret| text.starts_with(secret.as_str()))?;
        let is_cut = secret.len() + char::MAX_LEN_UTF8 > KEPT_LENGTH;
        let rest = &text[secret.len()..];
        let more = if is_cut { rest.find(ends_word).unwrap_or(rest.len()) } else { 0 };
        Some(secret.len() + more)
    }
}

fn start_of(text: &[u8]) -> Option<Start> {
    text.first_chunk().copied()
}

fn ends_word(c: char) -> bool {
    !c.is_ascii_alphanumeric() && !"+/=-_.~%:@,".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secrets: &[&str], text: &str) -> String {
        let mut known = Secrets::default();
        secrets.iter().for_each(|secret| known.add(secret));
        known.mask(text)
    }

    #[test]
    fn each_secret_is_masked_in_any_place() {
        let text = "hunter22, again hunter22; \u{e9}hunter22\u{e9} and s/cret+key";
        assert_eq!(
            masked(&["hunter22", "s/cret+key"], text),
            "***, again ***; \u{e9}***\u{e9} and ***"
        );
    }

    #[test]
    fn a_secret_is_masked_as_it_stands_in_a_form() {
        assert_eq!(masked(&["s/cret+key="], "Token=s%2Fcret%2Bkey%3D&x=1"), "Token=***&x=1");
    }

    #[test]
    fn a_long_secret_is_masked_to_its_end_and_also_if_it_was_cut() {
        let token = "Ab1/".repeat(100);
        assert_eq!(masked(&[&token], &format!("<{token}>")), "<***>");
        assert_eq!(masked(&[&token], &format!("<{}>", &token[..90])), "<***>");
    }

    #[test]
    fn the_longer_of_two_secrets_is_masked_whole() {
        assert_eq!(masked(&["secret-a", "secret-ab"], "secret-ab secret-a"), "*** ***");
    }

    #[test]
    fn short_words_stay() {
        assert_eq!(masked(&["token", "", "é"], "the token is é"), "the token is é");
    }

    #[test]
    fn the_oldest_secrets_make_room() {
        let mut known = Secrets::default();
        for number in 0..=MAX_SECRETS {
            known.add_spelling(&format!("secret-{number:05}"));
        }
        assert_eq!(known.oldest_first.len(), MAX_SECRETS);
        assert_eq!(known.mask("secret-00000 secret-20000"), "secret-00000 ***");
        let kept: usize = known.by_start.values().map(Vec::len).sum();
        assert_eq!(kept, MAX_SECRETS);
    }
}
