//! What stands for a value in guides, and is never one.

use crate::provider::has_placeholder_label;

/// What guides put behind `your-` in place of an audience or the id of a client. Names of their own
/// begin with other words, if they begin with `your-` at all.
const NOUNS: [&str; 31] = [
    "api",
    "app",
    "application",
    "aud",
    "audience",
    "auth0",
    "aws",
    "azure",
    "backend",
    "client",
    "clientid",
    "cognito",
    "company",
    "domain",
    "entra",
    "frontend",
    "gcp",
    "google",
    "id",
    "identifier",
    "keycloak",
    "oauth",
    "okta",
    "org",
    "organization",
    "project",
    "resource",
    "server",
    "service",
    "tenant",
    "value",
];

/// Whether an audience, or the id of a client, is one that somebody was to replace: `${AUDIENCE}`,
/// `{audience}`, `<audience>`, `your-audience`, `YOUR_AUDIENCE`, `change-me`, `xxx`.
pub(super) fn is_placeholder(id: &str) -> bool {
    let is_between = |open, close| {
        let behind = id.split_once(open).map(|(_, behind)| behind);
        behind.is_some_and(|behind: &str| behind.contains(close))
    };
    is_between('{', '}')
        || is_between('<', '>')
        || id.split(['.', '/', ':']).any(is_yours)
        || has_placeholder_label(id)
        || is_to_change(id)
}

/// `YOUR_…` in capitals, or `your-…` with a word behind it that says what is to be written.
fn is_yours(label: &str) -> bool {
    let words = label.to_ascii_lowercase().replace('_', "-");
    let Some(words) = words.strip_prefix("your-") else {
        return false;
    };
    let is_in_capitals = !label.bytes().any(|b| b.is_ascii_lowercase());
    let first = words.split('-').next().unwrap_or_default();
    is_in_capitals || NOUNS.contains(&first)
}

/// `changeme` or `xxx`, as a whole: a domain may end in `.xxx`.
fn is_to_change(id: &str) -> bool {
    let text = match id.split_once("://") {
        Some((_, text)) => text,
        None => id,
    };
    let bare = text.to_ascii_lowercase().replace(['-', '_'], "");
    bare == "changeme" || bare.len() >= 3 && bare.bytes().all(|b| b == b'x')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_an_id_is_none() {
        for placeholder in [
            "${AUDIENCE}",
            "{audience}",
            "api://{client-id}",
            "<your audience>",
            "https://<domain>/api",
            "your-audience",
            "your_client_id",
            "Your-API-Identifier",
            "api://your-api",
            "YOUR_CLIENT_ID",
            "https://YOUR_DOMAIN/",
            "YOUR-PORTAL",
            "https://api.yourdomain.com",
            "your-google-client-id.apps.googleusercontent.com",
            "changeme",
            "CHANGE_ME",
            "change-me",
            "api://changeme",
            "xxx",
            "XXXX",
            "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        ] {
            assert!(is_placeholder(placeholder), "{placeholder}");
        }
    }

    #[test]
    fn what_somebody_may_have_called_his_api_is_an_id() {
        for id in [
            "",
            "api",
            "x",
            "account",
            "api://default",
            "https://api.company.example/",
            "https://api.company.example/a%20b?c=$d",
            "https://api.company.xxx",
            "https://api.your-move.example/",
            "your-move",
            "yourorganics",
            "https://yourorganics.example",
            "in-your-area",
            "exchange-me",
            "change-me-not",
            "0oa1b2c3d4",
            "1234-x.apps.googleusercontent.com",
            "/projects/1/apps/company",
            "urn:company:orders",
            "72f988bf-86f1-41af-91ab-2d7cd011db47",
            "a>b",
            "$orders",
        ] {
            assert!(!is_placeholder(id), "{id}");
        }
    }
}
