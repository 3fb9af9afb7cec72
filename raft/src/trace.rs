//! One line of JSON per transition. Fields and their order are fixed, so that two runs can be compared line by line.
//!
//! ```text
//! {"event":"append_done","group":0,"node":1,"role":"leader","term":2,"last":9,"persisted":9,"commit":9,"handed_over":7,"applied":7}
//! ```

use crate::node::Status;

type Hook = Box<dyn FnMut(&str)>;

/// Where transitions are told.
#[derive(Default)]
pub(crate) struct Trace(Option<Hook>);

impl Trace {
    pub(crate) fn to(hook: impl FnMut(&str) + 'static) -> Self {
        Self(Some(Box::new(hook)))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn emit(&mut self, event: &'static str, status: &Status) {
        if let Some(hook) = &mut self.0 {
            hook(&format!(
                "{{\"event\":\"{event}\",\"group\":{},\"node\":{},\"role\":\"{}\",\"term\":{},\"last\":{},\"persisted\":{},\"commit\":{},\"handed_over\":{},\"applied\":{}}}",
                status.group,
                status.id,
                status.role.name(),
                status.term,
                status.last,
                status.persisted,
                status.commit,
                status.handed_over,
                status.applied
            ));
        }
    }
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_on() { "Trace(on)" } else { "Trace(off)" })
    }
}
