//! A cache by context and texts, whose memory is bounded.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::list::Texts;

/// A context's text and its choices: two contexts of the same text may have different lists.
pub(crate) type Key = (String, Texts);

/// The largest number of choices in a cache, of all its contexts together, which bounds its memory.
const CHOICES: usize = 1 << 16;

/// Values by [`Key`]. If they are too many, the oldest are dropped; a value is the same whenever it is computed, so that this
/// changes the time alone.
#[derive(Debug)]
pub(crate) struct Cache<V>(Mutex<Entries<V>>);

#[derive(Debug)]
struct Entries<V> {
    values: HashMap<Key, V>,
    /// The keys, oldest first.
    order: VecDeque<Key>,
    choices: usize,
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Self(Mutex::new(Entries { values: HashMap::new(), order: VecDeque::new(), choices: 0 }))
    }
}

impl<V: Clone> Cache<V> {
    fn entries(&self) -> MutexGuard<'_, Entries<V>> {
        // Nothing between two statements of an update can panic, and an entry that is missing is computed again.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a key, computed if it is not there. Two threads may compute it at the same time.
    pub(crate) fn get_or<E>(&self, key: &Key, compute: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        if let Some(value) = self.entries().values.get(key) {
            return Ok(value.clone());
        }
        let value = compute()?;
        let mut entries = self.entries();
        if entries.values.insert(key.clone(), value.clone()).is_none() {
            entries.order.push_back(key.clone());
            entries.choices += key.1.len();
        }
        while entries.choices > CHOICES
            && entries.order.len() > 1
            && let Some(oldest) = entries.order.pop_front()
        {
            entries.values.remove(&oldest);
            entries.choices -= oldest.1.len();
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::{CHOICES, Cache, Key};

    #[test]
    fn values_are_computed_once_until_there_are_too_many() {
        let cache = Cache::default();
        let key = |context: usize, choices: usize| -> Key {
            (context.to_string(), (0..choices).map(|choice| choice.to_string()).collect())
        };
        let ask = |context: usize, choices: usize| {
            let mut computed = false;
            let value = cache.get_or(&key(context, choices), || {
                computed = true;
                Ok::<_, ()>(10 * context + 1)
            });
            assert_eq!(value, Ok(10 * context + 1));
            computed
        };
        assert!(ask(0, 2) && !ask(0, 2));
        // Another list of the same context is another entry.
        assert!(ask(0, 3) && !ask(0, 2));
        assert!(ask(1, CHOICES - 5) && !ask(0, 2) && !ask(1, CHOICES - 5));
        // One more drops the oldest alone.
        assert!(ask(2, 1) && !ask(0, 3) && !ask(1, CHOICES - 5));
        assert!(ask(0, 2));
        // A list that is longer than the bound is kept until the next one comes.
        assert!(ask(3, CHOICES + 1) && !ask(3, CHOICES + 1));
        assert!(ask(4, 1) && ask(3, CHOICES + 1));
        let failed = cache.get_or(&key(9, 1), || Err::<usize, _>("failed"));
        assert_eq!(failed, Err("failed"));
        assert!(ask(9, 1));
    }
}
