//! What is probably not meant, of settings, servers and issuers.

use std::time::Duration;

use url::Url;

use super::{report::ServerReport, walk::difference};
use crate::{
    audit::FetchFailure,
    authorization_server::{Audience, AuthorizationServer},
    key_source::KeySource,
    verify::KeySet,
};

pub(super) fn why_not_trusted<'s>(
    issuer: &str,
    trusted: impl Iterator<Item = &'s AuthorizationServer>,
    has_tenants: bool,
) -> String {
    let mut others = Vec::new();
    let normal = |text: &str| Url::parse(text).map(|url| url.to_string());
    for server in trusted {
        let known = server.issuer();
        let difference = if let Some(difference) = difference(issuer, known) {
            difference
        } else if issuer
            .strip_prefix("http://")
            .is_some_and(|rest| known.strip_prefix("https://") == Some(rest))
        {
            "http in place of https"
        } else if normal(issuer).is_ok_and(|issuer| normal(known) == Ok(issuer)) {
            "how it is written"
        } else {
            others.push(known);
            continue;
        };
        return format!(
            "{issuer:?} is not {known:?}: they differ in {difference}, and issuers are compared exactly. Write it as the token has it"
        );
    }
    let host = |text: &str| {
        Url::parse(text)
            .ok()
            .and_then(|url| Some(url.host_str()?.to_owned()))
    };
    if let Some(known) = others.iter().find(|known| host(known) == host(issuer))
        && known.contains("/oauth2/")
        && !issuer.contains("/oauth2/")
    {
        return format!(
            "{issuer:?} is Okta's org authorization server, whose access tokens are for Okta alone: have the client ask {known:?} for one"
        );
    }
    let is_placeholder = issuer.contains(['{', '}']);
    let advice = if is_placeholder {
        ". It is a placeholder"
    } else {
        ": the token is of another authorization server, tenant or environment, or this one is to be trusted, too"
    };
    if others.is_empty() {
        return format!(
            "{issuer:?} is no tenant's, says the resolver, and no other authorization server is trusted"
        );
    }
    let resolved = if has_tenants {
        "is no tenant's, says the resolver, and "
    } else {
        "is "
    };
    format!(
        "{issuer:?} {resolved}not trusted, but {}{advice}",
        others.join(", ")
    )
}

pub(super) fn report_of(
    server: &AuthorizationServer,
    jwks_uri: Option<&Url>,
    keys: &Result<KeySet, FetchFailure>,
) -> ServerReport {
    let source = server.keys.as_ref().map(ToString::to_string);
    ServerReport {
        issuer: server.issuer().to_owned(),
        source: source.unwrap_or_default(),
        jwks_uri: jwks_uri.map(ToString::to_string),
        keys: match keys {
            Ok(keys) => Ok((keys.len(), keys.left_out())),
            Err(_) if server.keys == Ok(KeySource::Nowhere) => Ok((0, 0)),
            Err(failure) => Err(advice_on_failure(*failure)),
        },
    }
}

pub(super) fn advice_on_failure(failure: FetchFailure) -> String {
    let advice = match failure {
        FetchFailure::Connection => {
            ": is the name right, and may this machine reach it? If it has a certificate of its own, the system has to trust that"
        }
        FetchFailure::Timeout => ": is there a firewall or a proxy in between?",
        FetchFailure::Status(404) => {
            ": there is no such authorization server, or its keys are elsewhere"
        }
        FetchFailure::Status(401 | 403) => ": keys are public; this is something else, or a proxy",
        FetchFailure::OtherIssuer => ": write the issuer exactly as its metadata has it",
        FetchFailure::UnacceptableJwksUri => {
            ": name its host with `jwks_host`, or its URL with `jwks_uri`, if that is right"
        }
        FetchFailure::NoUsableKey => ": are its algorithms on the list?",
        FetchFailure::NotAKeySet | FetchFailure::NotMetadata => ": is the URL right?",
        _ => "",
    };
    format!("{failure}{advice}")
}

/// What is sound, and probably not meant.
pub(super) fn advice_on(server: &AuthorizationServer) -> Vec<String> {
    let issuer = server.issuer();
    let mut advice = Vec::new();
    let mut say = |text: &str| advice.push(format!("{issuer}: {text}"));
    let host = Url::parse(issuer)
        .ok()
        .and_then(|url| Some(url.host_str()?.to_owned()));
    let host = host.unwrap_or_default();
    let has_slash = issuer.ends_with('/');
    if host.ends_with(".auth0.com") && !has_slash {
        say("Auth0's issuers end in a slash, and this one does not");
    }
    if issuer.contains("/application/o/") && !has_slash {
        say("authentik's issuers end in a slash, and this one does not");
    }
    if has_slash
        && [".okta.com", ".oktapreview.com", ".amazonaws.com"]
            .iter()
            .any(|end| host.ends_with(end))
    {
        say("issuers of this product do not end in a slash, and this one does");
    }
    if (host.ends_with(".okta.com") || host.ends_with(".oktapreview.com"))
        && !issuer.contains("/oauth2/")
        && !server.introspects_jwts()
    {
        say(
            "this is the org authorization server, whose access tokens cannot be verified by anybody but Okta: use a custom one, or introspect",
        );
    }
    if ["/common/", "/organizations/", "/consumers/"]
        .iter()
        .any(|tenant| issuer.contains(tenant))
    {
        say("no token has this issuer: each has its tenant's. Use the preset for several tenants");
    }
    if server
        .tenants
        .as_ref()
        .is_some_and(|tenants| tenants.allowed.is_none())
    {
        say("every tenant there is, is trusted: anybody can make one. Name those that you mean");
    }
    match &server.audience {
        Audience::Any => {
            say("any audience is accepted, so that other APIs can use here what they were sent")
        }
        Audience::AnyOf(audiences) => {
            for audience in audiences {
                if audience.contains(['{', '}', '<', '>'])
                    || audience.to_ascii_lowercase().contains("your-")
                {
                    say(&format!(
                        "the audience {audience:?} looks like a placeholder"
                    ));
                }
                if audience == "account" {
                    say(
                        "the audience \"account\" is in every token of a Keycloak realm: add an audience mapper, and use that",
                    );
                }
            }
        }
    }
    if server.jwks.ttl_cap > Duration::from_secs(3_600) {
        let hours = server.jwks.ttl_cap.as_secs() / 3_600;
        say(&format!(
            "keys are used for up to {hours} h after they were withdrawn: an hour is enough"
        ));
    }
    if server.plain_http_allowed {
        say("keys are fetched over plain http, by whoever answers");
    }
    advice
}
