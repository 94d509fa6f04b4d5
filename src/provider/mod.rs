//! Presets: what is particular to one product's authorization servers, each in a file of its own.

use url::{Host, Url};

use crate::{
    authorization_server::{AuthorizationServer, WithoutAudience},
    error::{ConfigError, without_userinfo},
    key_source::is_loopback,
};

mod auth0;
mod authentik;
mod cognito;
mod entra;
mod github;
mod google;
mod keycloak;
mod kubernetes;
pub(crate) mod okta;
mod pingone;
mod zitadel;

/// What a preset is made from, as it is called, and what makes sense for it.
struct Setting {
    name: &'static str,
    expected: &'static str,
}

/// Why something is no origin.
enum Problem {
    Placeholder,
    Other(&'static str),
}

/// The authorization server of this issuer, with its key set at a path behind it.
fn preset(issuer: Result<String, ConfigError>, keys: &str) -> WithoutAudience {
    match issuer {
        Err(mistake) => WithoutAudience::new("", Err(mistake)),
        Ok(issuer) => {
            let jwks_uri = format!("{}{keys}", issuer.trim_end_matches('/'));
            AuthorizationServer::with_issuer(issuer, &jwks_uri)
        }
    }
}

impl Setting {
    fn mistake(&self, found: &str, problem: &'static str) -> ConfigError {
        ConfigError::InvalidSetting {
            setting: self.name,
            found: without_userinfo(found),
            problem,
            expected: self.expected,
        }
    }

    /// The origin that a domain stands for, without a trailing slash.
    fn origin(&self, domain: &str) -> Result<String, ConfigError> {
        match parse_origin(domain) {
            Ok(url)
                if !is_loopback(&url)
                    && !url.host_str().is_some_and(|h| h.contains(['.', ':'])) =>
            {
                Err(self.mistake(domain, "is not a whole domain"))
            }
            Ok(url) => Ok(url.origin().ascii_serialization()),
            Err(problem) => Err(self.mistake(domain, problem.text())),
        }
    }

    /// An origin with a path, or without; without a trailing slash.
    fn base_url(&self, text: &str) -> Result<String, ConfigError> {
        let url = parse_base(text).map_err(|problem| self.mistake(text, problem.text()))?;
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }

    /// A part of a path: it goes there as it is, so it must not be able to change the URL's shape.
    fn segment<'t>(&self, text: &'t str) -> Result<&'t str, ConfigError> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if text.is_empty() {
            Err(self.mistake(text, "is empty"))
        } else if text.bytes().all(is_plain) && !text.bytes().all(|b| b == b'.') {
            Ok(text)
        } else {
            Err(self.mistake(text, "has characters that do not belong there"))
        }
    }

    /// A part of a domain, without dots.
    fn label<'t>(&self, text: &'t str) -> Result<&'t str, ConfigError> {
        if text.contains(['.', '_']) {
            Err(self.mistake(text, "has characters that do not belong there"))
        } else {
            self.segment(text)
        }
    }
}

impl Problem {
    const fn text(&self) -> &'static str {
        match self {
            Self::Placeholder => "is a placeholder",
            Self::Other(problem) => problem,
        }
    }
}

/// A domain, or an origin, as an origin.
fn parse_origin(domain: &str) -> Result<Url, Problem> {
    let url = parse_base(domain)?;
    if url.path() == "/" {
        Ok(url)
    } else {
        Err(Problem::Other("is more than an origin"))
    }
}

/// An https URL without query and fragment; `https://` may be left out.
fn parse_base(text: &str) -> Result<Url, Problem> {
    let problem = |problem| Err(Problem::Other(problem));
    if is_placeholder(text) {
        return Err(Problem::Placeholder);
    }
    if text.is_empty() {
        return problem("is empty");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return problem("has white space in it");
    }
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    let Ok(url) = Url::parse(&with_scheme) else {
        return problem("is not a domain");
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return problem("is plain http"),
        _ => return problem("is not an https origin"),
    }
    let host = match url.host() {
        Some(Host::Domain(host)) => host,
        Some(_) => "",
        None => return problem("has no host"),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return problem("has a user name or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return problem("has a query or a fragment");
    }
    if host.ends_with('.') {
        return problem("ends in a dot");
    }
    Ok(url)
}

/// What stands for the domain in guides.
const PLACEHOLDERS: [&str; 12] = [
    "youroktadomain",
    "your-okta-domain",
    "your_okta_domain",
    "yourdomain",
    "your-domain",
    "your_domain",
    "yourorg",
    "your-org",
    "yourtenant",
    "your-tenant",
    "your_tenant",
    "your-auth0-domain",
];

fn is_placeholder(domain: &str) -> bool {
    domain.contains(['{', '}', '<', '>', '$', '%']) || has_placeholder_label(domain)
}

pub(crate) fn has_placeholder_label(text: &str) -> bool {
    text.split(['.', '/', ':'])
        .any(|label| PLACEHOLDERS.contains(&&*label.to_ascii_lowercase()))
}
