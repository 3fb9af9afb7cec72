//! What the OpenAPI document promises, held against every answer that a test gets.
use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

const DOCUMENT: &str = include_str!("../../src/http/openapi.json");
const URL: &str = "mem:///openapi.json";

/// The document with a validator for every answer in it.
struct Contract {
    schemas: boon::Schemas,
    /// By method, path and status.
    answers: BTreeMap<(String, String, u16), boon::SchemaIndex>,
    paths: Vec<String>,
}

fn contract() -> &'static Contract {
    static CONTRACT: OnceLock<Contract> = OnceLock::new();
    CONTRACT.get_or_init(|| {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let (mut compiler, mut schemas) = (boon::Compiler::new(), boon::Schemas::new());
        compiler.add_resource(URL, document.clone()).unwrap();
        let (mut answers, mut paths) = (BTreeMap::new(), Vec::new());
        for (path, operations) in document["paths"].as_object().unwrap() {
            paths.push(path.clone());
            for (method, operation) in operations.as_object().unwrap() {
                for (status, answer) in operation["responses"].as_object().unwrap() {
                    let Some(json) = answer["content"].get("application/json") else { continue };
                    let place = match json["schema"]["$ref"].as_str() {
                        Some(place) => format!("{URL}{place}"),
                        None => {
                            let path = path.replace('~', "~0").replace('/', "~1");
                            format!("{URL}#/paths/{path}/{method}/responses/{status}/content/application~1json/schema")
                        }
                    };
                    let schema =
                        compiler.compile(&place, &mut schemas).unwrap_or_else(|error| panic!("{place}: {error}"));
                    answers.insert((method.to_uppercase(), path.clone(), status.parse().unwrap()), schema);
                }
            }
        }
        Contract { schemas, answers, paths }
    })
}

/// Panics unless the document promises such an answer of this path. Paths and methods that it does not know are not looked at.
pub fn check(method: &str, path: &str, status: u16, answer: &Value) {
    let contract = contract();
    let path = path.split('?').next().unwrap();
    if !contract.paths.iter().any(|known| known == path) || status == 405 {
        return;
    }
    let key = (method.to_owned(), path.to_owned(), status);
    let schema = contract.answers.get(&key).unwrap_or_else(|| {
        panic!("openapi.json does not know that {method} {path} answers {status}: {answer}");
    });
    if let Err(error) = contract.schemas.validate(answer, *schema) {
        panic!("{method} {path} answered {status} with what openapi.json does not promise: {error:#}\n{answer}");
    }
}

#[test]
fn the_document_is_served_and_of_this_release() {
    let folder = tempfile::tempdir().unwrap();
    let server = crate::running::Server::start(folder.path(), &[]);
    let answer = server.get("/v1/api/openapi.json", &[]);
    assert_eq!((answer.status, &answer.json["openapi"]), (200, &Value::from("3.1.0")));
    assert_eq!(answer.json["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(answer.json, serde_json::from_str::<Value>(DOCUMENT).unwrap());
}

#[test]
#[should_panic(expected = "does not promise")]
fn an_answer_with_a_field_that_is_not_in_the_document_is_noticed() {
    check("GET", "/ready", 200, &serde_json::json!({"status": "ready", "since": 5}));
}
