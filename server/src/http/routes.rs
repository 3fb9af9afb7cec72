//! Paths and methods.

use super::Method;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// How the server is.
    Monitor(Monitor),
    /// Statements.
    Sql,
    /// Logins.
    Auth(Auth),
    /// Topics.
    Topic(Topic),
}

/// What is read under overload too, when it matters most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Monitor {
    /// Is the process well?
    Health,
    /// Does it take work?
    Ready,
    /// How is the cluster?
    ClusterHealth,
    /// Figures of the node.
    Metrics,
    /// What all paths take and answer.
    OpenApi,
}

/// Who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Auth {
    /// Password for tokens.
    Login,
    /// Refresh token for tokens.
    Refresh,
    /// No more of this login.
    Logout,
    /// Who am I?
    Me,
    /// Is there a root password?
    Status,
    /// The first passwords.
    Setup,
}

/// What is done with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    /// Messages.
    Consume,
    /// Acknowledgements.
    Ack,
}

/// Why a request has no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unrouted {
    /// No such path; perhaps this one was meant.
    Path(Option<&'static str>),
    /// The path takes another method.
    Method(&'static str),
}

const ROUTES: [(&str, &str, Route); 15] = [
    ("/health", "GET", Route::Monitor(Monitor::Health)),
    ("/v1/api/healthcheck", "GET", Route::Monitor(Monitor::Health)),
    ("/ready", "GET", Route::Monitor(Monitor::Ready)),
    ("/v1/api/cluster/health", "GET", Route::Monitor(Monitor::ClusterHealth)),
    ("/metrics", "GET", Route::Monitor(Monitor::Metrics)),
    ("/v1/api/openapi.json", "GET", Route::Monitor(Monitor::OpenApi)),
    ("/v1/api/auth/login", "POST", Route::Auth(Auth::Login)),
    ("/v1/api/auth/refresh", "POST", Route::Auth(Auth::Refresh)),
    ("/v1/api/auth/logout", "POST", Route::Auth(Auth::Logout)),
    ("/v1/api/auth/me", "GET", Route::Auth(Auth::Me)),
    ("/v1/api/auth/status", "GET", Route::Auth(Auth::Status)),
    ("/v1/api/auth/setup", "POST", Route::Auth(Auth::Setup)),
    ("/v1/api/sql", "POST", Route::Sql),
    ("/v1/api/topics/consume", "POST", Route::Topic(Topic::Consume)),
    ("/v1/api/topics/ack", "POST", Route::Topic(Topic::Ack)),
];

/// A path that differs by more than so many characters was not meant.
const MOST_TYPOS: usize = 4;

/// The route of a method and path. HEAD is as GET, and the answer then goes without its body.
pub(super) fn route(method: &Method, path: &str) -> Result<Route, Unrouted> {
    let Some((_, allowed, route)) = ROUTES.iter().find(|(known, ..)| *known == path) else {
        let asked = path.trim_end_matches('/');
        // What differs more in length differs too much, and may be long enough to keep the core busy.
        let near = ROUTES.iter().filter(|(known, ..)| known.len().abs_diff(asked.len()) <= MOST_TYPOS);
        let nearest = near
            .map(|(known, ..)| (strsim::damerau_levenshtein(known, asked), *known))
            .min()
            .filter(|(distance, _)| *distance <= MOST_TYPOS);
        return Err(Unrouted::Path(nearest.map(|(_, known)| known)));
    };
    let is_head = method == Method::HEAD && *allowed == "GET";
    if method.as_str() == *allowed || is_head { Ok(*route) } else { Err(Unrouted::Method(allowed)) }
}

/// The path for the figures: itself if it exists, else one word for all others.
pub(super) fn label(path: &str) -> &'static str {
    ROUTES.iter().find(|(known, ..)| *known == path).map_or("other", |(known, ..)| known)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_path_takes_its_own_method_only() {
        assert_eq!(route(&Method::POST, "/v1/api/sql"), Ok(Route::Sql));
        assert_eq!(route(&Method::GET, "/v1/api/sql"), Err(Unrouted::Method("POST")));
        assert_eq!(route(&Method::HEAD, "/health"), Ok(Route::Monitor(Monitor::Health)));
        assert_eq!(route(&Method::HEAD, "/v1/api/sql"), Err(Unrouted::Method("POST")));
        assert_eq!(route(&Method::DELETE, "/health"), Err(Unrouted::Method("GET")));
    }

    #[test]
    fn the_openapi_document_has_these_paths_and_no_others() {
        let document: serde_json::Value = serde_json::from_str(super::super::OPENAPI).unwrap();
        let mut told = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            told.extend(methods.as_object().unwrap().keys().map(|method| (path.clone(), method.to_uppercase())));
        }
        let mut known: Vec<_> = ROUTES.iter().map(|(path, method, _)| (path.to_string(), method.to_string())).collect();
        told.sort();
        known.sort();
        assert_eq!(told, known);
    }

    #[test]
    fn an_unknown_path_is_answered_with_the_one_that_was_meant() {
        assert_eq!(route(&Method::POST, "/v1/api/sql/"), Err(Unrouted::Path(Some("/v1/api/sql"))));
        assert_eq!(route(&Method::GET, "/v1/api/heathcheck"), Err(Unrouted::Path(Some("/v1/api/healthcheck"))));
        assert_eq!(route(&Method::GET, "/metrics/of/something/else"), Err(Unrouted::Path(None)));
        assert_eq!(route(&Method::GET, &"x".repeat(60_000)), Err(Unrouted::Path(None)));
    }
}
