//! Statements: any text is parsed and bound, or refused with a place inside the text.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use std::sync::Arc;

use highwater_sql::access::authorize;
use highwater_sql::bind::{BindContext, bind};
use highwater_sql::catalog::{Catalog, CatalogDelta, CatalogVersion, Role};
use highwater_sql::parse::parse;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut catalog = Catalog::default();
    catalog.advance(CatalogVersion(1), &[CatalogDelta::PutTable(Arc::new(highwater_fuzz::table()))]);
    let context = BindContext { catalog: &catalog, namespace: "app", user: "u", role: Role::System };
    let outcome = parse(text).and_then(|statements| {
        for statement in &statements {
            let bound = bind(statement, &context)?;
            let _ = authorize(&bound, Role::User, "u", &catalog);
        }
        Ok(())
    });
    if let Err(diag) = outcome
        && let Some(span) = diag.span
    {
        let characters = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        assert!(span.start <= span.end && span.end <= characters);
    }
});
