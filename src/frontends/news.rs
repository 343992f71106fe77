//! What goes on for long is told when it changes, not each time that it is seen.

use std::sync::{Mutex, PoisonError};

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct News(Mutex<Option<String>>);

impl News {
    pub(super) const fn none() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether this is something else than what was told last.
    pub(super) fn is_news(&self, text: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_deref() == Some(text) {
            return false;
        }
        *told = Some(text.to_owned());
        true
    }

    /// It is over: whatever comes next is news. Whether there was anything.
    pub(super) fn is_over(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_told_once() {
        static NEWS: News = News::none();
        assert!(!NEWS.is_over());
        let told: Vec<bool> = ["a", "a", "b", "b", "a"].iter().map(|text| NEWS.is_news(text)).collect();
        assert_eq!(told, [true, false, true, false, true]);
        assert!(NEWS.is_over() && !NEWS.is_over());
        assert!(NEWS.is_news("a"), "it is back");
    }
}
