//! Memory that a replica has only while it needs it. A node hosts thousands of groups of which nearly all are idle: what is empty in
//! those must cost no more than a pointer.

use std::ops::{Deref, DerefMut};

/// What may be empty, and what it is then.
pub(crate) trait Empty: Sized + 'static {
    /// The empty one, without memory of its own.
    const EMPTY: &'static Self;

    /// A new empty one.
    fn new_empty() -> Self;

    /// Whether nothing is in it.
    fn is_empty(&self) -> bool;
}

/// A `T` that is allocated when it is first written to, and let go of by [`Self::tidy`]. Reading an empty one costs nothing.
#[derive(Clone, Debug)]
pub(crate) struct OnDemand<T>(Option<Box<T>>);

impl<T: Empty> OnDemand<T> {
    /// Lets go of the memory if nothing is in it.
    pub(crate) fn tidy(&mut self) {
        if self.0.as_ref().is_some_and(|held| held.is_empty()) {
            self.0 = None;
        }
    }
}

impl<T> Default for OnDemand<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Empty> Deref for OnDemand<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

impl<T: Empty> DerefMut for OnDemand<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(T::new_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Empty for Vec<u8> {
        const EMPTY: &'static Self = &Self::new();

        fn new_empty() -> Self {
            Self::new()
        }

        fn is_empty(&self) -> bool {
            self.is_empty()
        }
    }

    #[test]
    fn memory_is_there_from_the_first_write_until_it_is_tidied_empty() {
        let mut held = OnDemand::<Vec<u8>>::default();
        assert!(held.is_empty() && held.0.is_none(), "reading takes none");
        held.push(1);
        held.tidy();
        assert_eq!(*held, [1]);
        held.clear();
        assert!(held.0.is_some());
        held.tidy();
        assert!(held.0.is_none() && held.is_empty());
    }
}
