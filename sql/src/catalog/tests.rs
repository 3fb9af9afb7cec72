//! What a catalog finds by name, before and after changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

fn source(table: u64, operation: Operation) -> Source {
    Source {
        table: ObjectId(table),
        operation,
        filter: None,
        filter_text: None,
        partition_by: None,
        partition_by_text: None,
        payload: PayloadMode::Key,
    }
}

fn topic(id: u64, namespace: &str, name: &str, sources: Vec<Source>) -> CatalogDelta {
    CatalogDelta::PutTopic(Arc::new(Topic {
        id: ObjectId(id),
        incarnation: id,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        partitions: 1,
        retention_seconds: None,
        retention_bytes: None,
        sources,
        clear_count: 0,
        created_at: 0,
        updated_at: 0,
    }))
}

#[test]
fn names_and_sources_are_found_and_follow_every_change() {
    use Operation::{Delete, Insert};
    let mut catalog = Catalog::default();
    assert!(catalog.topic("app", "a").is_none());
    let both = vec![source(1, Insert), source(1, Delete), source(2, Insert)];
    catalog.advance(CatalogVersion(1), &[topic(9, "app", "b", vec![source(1, Insert)]), topic(7, "app", "a", both)]);
    let named = |catalog: &Catalog, name| catalog.topic("app", name).map(|topic| topic.id.0);
    assert_eq!((named(&catalog, "a"), named(&catalog, "b"), named(&catalog, "c")), (Some(7), Some(9), None));
    assert!(catalog.topic("other", "a").is_none());
    let carriers = |catalog: &Catalog, table, operation| -> Vec<(u64, Operation)> {
        catalog.sources_of(ObjectId(table), operation).map(|(topic, source)| (topic.id.0, source.operation)).collect()
    };
    assert_eq!(carriers(&catalog, 1, Insert), [(7, Insert), (9, Insert)]);
    assert_eq!(carriers(&catalog, 1, Delete), [(7, Delete)]);
    assert_eq!(carriers(&catalog, 3, Insert), []);

    let older = catalog.clone();
    catalog.advance(CatalogVersion(2), &[CatalogDelta::DropTopic(ObjectId(9)), topic(7, "app", "c", Vec::new())]);
    assert_eq!((named(&catalog, "a"), named(&catalog, "b"), named(&catalog, "c")), (None, None, Some(7)));
    assert_eq!(carriers(&catalog, 1, Insert), []);
    assert_eq!((named(&older, "a"), carriers(&older, 1, Insert).len()), (Some(7), 2));
    assert_eq!(older, older.clone(), "whether anyone has looked is no difference");
}
