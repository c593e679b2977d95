//! How many sockets somebody has on this node. A place is given back when it is dropped, whatever the reason.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

/// Places per key, at most `max` each. Clones share them.
pub(crate) struct Counts<K> {
    max: usize,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K> Clone for Counts<K> {
    fn clone(&self) -> Counts<K> {
        Counts { max: self.max, taken: self.taken.clone() }
    }
}

/// One place, until dropped.
pub(crate) struct Place<K: Hash + Eq> {
    key: K,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Hash + Eq + Clone> Counts<K> {
    /// None taken.
    pub(crate) fn new(max: usize) -> Counts<K> {
        Counts { max, taken: Arc::default() }
    }

    /// A place for this key, if one is left.
    pub(crate) fn enter(&self, key: K) -> Option<Place<K>> {
        let mut taken = self.taken.lock().expect("nothing under this lock can panic");
        let count = taken.entry(key.clone()).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Place { key, taken: self.taken.clone() })
    }
}

impl<K: Hash + Eq + Clone> Counts<K> {
    /// Every key that has places taken, with how many.
    pub(crate) fn all(&self) -> Vec<(K, usize)> {
        let taken = self.taken.lock().expect("nothing under this lock can panic");
        taken.iter().map(|(key, count)| (key.clone(), *count)).collect()
    }
}

impl<K: Hash + Eq> Place<K> {
    /// Whose place it is.
    pub(crate) fn key(&self) -> &K {
        &self.key
    }

    /// How many places its key has taken, this one included.
    pub(crate) fn taken(&self) -> usize {
        let taken = self.taken.lock().expect("nothing under this lock can panic");
        taken.get(&self.key).copied().unwrap_or(0)
    }
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().expect("nothing under this lock can panic");
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s24_places_are_limited_per_key_and_come_back() {
        let counts = Counts::new(2);
        let first = counts.enter("ana").expect("a free place");
        let second = counts.clone().enter("ana").expect("a free place");
        assert!(counts.enter("ana").is_none());
        let other = counts.enter("ben").expect("places are per key");
        drop(first);
        assert!(counts.enter("ana").is_some(), "a place dropped at once");
        drop((second, other));
        assert!(counts.taken.lock().expect("no panic").is_empty(), "nothing is remembered of those who left");
    }
}
