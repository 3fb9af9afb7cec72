//! Between the editor and [`complete`](super::complete): keeps what is known of the server, and asks again when it may have changed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use reedline::{Completer, CompletionResult, Span, Suggestion};

use crate::connection::Connection;
use crate::session::Session;

use super::catalog::Catalog;
use super::complete::{Place, suggestions};

/// What completion knows.
pub(super) struct Known {
    catalog: Catalog,
    is_stale: Arc<AtomicBool>,
    connection: Option<Connection>,
    namespace: String,
    variables: Vec<String>,
    fixes: Vec<String>,
}

impl Known {
    pub(super) fn new(is_stale: Arc<AtomicBool>) -> Self {
        is_stale.store(true, Ordering::Relaxed);
        Self {
            catalog: Catalog::default(),
            is_stale,
            connection: None,
            namespace: String::new(),
            variables: Vec::new(),
            fixes: Vec::new(),
        }
    }

    /// Takes over what a session has become.
    pub(super) fn follow(&mut self, session: &Session) {
        self.namespace = session.connection.namespace().to_owned();
        self.variables = session.variables.keys().cloned().collect();
        self.fixes.clone_from(&session.fixes);
        if self.is_stale.load(Ordering::Relaxed) {
            self.connection = session.connection.beside().ok();
        }
    }

    fn complete(&mut self, line: &str, at: usize) -> Vec<Suggestion> {
        if line.trim().is_empty() && !self.fixes.is_empty() {
            let whole = Span::new(0, line.len());
            return self
                .fixes
                .iter()
                .map(|fix| Suggestion { value: fix.clone(), span: whole, ..Suggestion::default() })
                .collect();
        }
        // The server is asked when someone asks for completion, not before.
        if self.is_stale.swap(false, Ordering::Relaxed)
            && let Some(connection) = &mut self.connection
        {
            self.catalog = Catalog::load(connection);
        }
        let place = Place { text: line, at, namespace: &self.namespace, variables: &self.variables };
        let found = suggestions(&self.catalog, &place).into_iter().map(|suggested| Suggestion {
            value: suggested.text,
            description: Some(suggested.detail).filter(|detail| !detail.is_empty()),
            span: Span::new(suggested.start, at.max(suggested.start)),
            append_whitespace: suggested.is_word,
            ..Suggestion::default()
        });
        found.collect()
    }
}

/// The editor's completer.
pub(super) struct StatementCompleter(pub(super) Arc<Mutex<Known>>);

impl Completer for StatementCompleter {
    fn complete(&mut self, line: &str, at: usize) -> CompletionResult {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        CompletionResult::fresh(known.complete(line, at))
    }
}
