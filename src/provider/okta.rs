//! Okta's two kinds of authorization server.

use url::Host;

use super::{Problem, preset};
use crate::{
    authorization_server::{AuthorizationServer, WithoutAudience},
    error::{ConfigError, without_userinfo},
};

/// # Okta
impl AuthorizationServer {
    /// An Okta *custom* authorization server, `default` included.
    ///
    /// `domain` is the org's domain, `company.okta.com`, or a full origin,
    /// `https://company.okta.com`; plain `http` is for this machine only. `id` is the last part of
    /// the server's issuer. Tokens have the issuer `https://{domain}/oauth2/{id}`, keys are at
    /// `{issuer}/v1/keys`, and the audience is what the server's settings say, by default
    /// `api://default`.
    ///
    /// Scopes are read from `scp` and `scope`, the client from `cid` and `client_id`.
    ///
    /// # Errors
    ///
    /// Reported by [`build`](crate::ResourceServerBuilder::build): a placeholder
    /// (`{yourOktaDomain}`), a domain of the admin console (`company-admin.okta.com`), a domain or
    /// an id that is none.
    pub fn okta_custom(domain: &str, id: &str) -> WithoutAudience {
        let issuer = origin(domain).and_then(|origin| {
            if is_id(id) {
                Ok(format!("{origin}/oauth2/{id}"))
            } else {
                Err(ConfigError::InvalidAuthorizationServerId {
                    found: id.to_owned(),
                })
            }
        });
        preset(issuer, "/v1/keys")
    }

    /// The Okta *org* authorization server. Read this before you use it.
    ///
    /// Okta says that access tokens of the org authorization server are for Okta alone: their
    /// contents may change without notice, and the keys they are signed with are not published, so
    /// they are refused here with `KEY_UNKNOWN`. What its published keys do verify are ID tokens,
    /// which are refused too, unless you also ask for
    /// [`dangerous_accept_id_tokens`](Self::dangerous_accept_id_tokens). Use a
    /// [custom authorization server](Self::okta_custom) for an API.
    ///
    /// Tokens have the issuer `https://{domain}`, keys are at `https://{domain}/oauth2/v1/keys`, and
    /// the audience is the client id of the application.
    ///
    /// # Errors
    ///
    /// As for [`okta_custom`](Self::okta_custom).
    pub fn okta_org(domain: &str) -> WithoutAudience {
        preset(origin(domain), "/oauth2/v1/keys")
    }
}

/// An id goes into the issuer as it is, so it must not be able to change the URL's shape.
pub(crate) fn is_id(id: &str) -> bool {
    !id.is_empty()
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The origin that an Okta domain stands for, without a trailing slash.
pub(crate) fn origin(domain: &str) -> Result<String, ConfigError> {
    let found = || without_userinfo(domain);
    let url = super::parse_origin(domain).map_err(|problem| match problem {
        Problem::Placeholder => ConfigError::PlaceholderDomain { found: found() },
        Problem::Other(problem) => ConfigError::InvalidDomain {
            found: found(),
            problem,
        },
    })?;
    if let Some(Host::Domain(host)) = url.host()
        && let Some((org, rest)) = host.split_once('.')
        && OKTA_DOMAINS.contains(&rest)
        && let Some(org) = org.strip_suffix("-admin")
    {
        return Err(ConfigError::AdminDomain {
            found: found(),
            expected: format!("{org}.{rest}"),
        });
    }
    Ok(url.origin().ascii_serialization())
}

/// Where Okta's orgs live, and their admin consoles.
const OKTA_DOMAINS: [&str; 7] = [
    "okta.com",
    "oktapreview.com",
    "okta-emea.com",
    "okta-gov.com",
    "okta.mil",
    "okta-miltest.com",
    "trex-govcloud.com",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_or_an_origin_becomes_the_issuer_okta_writes() {
        for (domain, expected) in [
            ("company.okta.com", "https://company.okta.com"),
            ("https://company.okta.com", "https://company.okta.com"),
            ("https://company.okta.com/", "https://company.okta.com"),
            ("Company.OKTA.com", "https://company.okta.com"),
            ("company.okta.com:8443", "https://company.okta.com:8443"),
            ("https://company.okta.com:443", "https://company.okta.com"),
            ("login.company.example", "https://login.company.example"),
            ("admin.company.example", "https://admin.company.example"),
            (
                "auth-admin.company.example",
                "https://auth-admin.company.example",
            ),
            ("login.yourorganics.com", "https://login.yourorganics.com"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("localhost:8080", "https://localhost:8080"),
        ] {
            assert_eq!(origin(domain).as_deref(), Ok(expected), "{domain}");
        }
    }

    #[test]
    fn placeholders_and_admin_domains_say_what_to_write() {
        for domain in [
            "{yourOktaDomain}",
            "https://{yourOktaDomain}",
            "yourOktaDomain.okta.com",
            "${yourOktaDomain}",
            "<your-domain>",
            "your-domain.okta.com",
        ] {
            let error = origin(domain).unwrap_err();
            assert!(
                matches!(error, ConfigError::PlaceholderDomain { .. }),
                "{domain}"
            );
            assert!(error.to_string().contains("company.okta.com"));
        }
        for (domain, expected) in [
            ("company-admin.okta.com", "\"company.okta.com\""),
            (
                "https://company-admin.oktapreview.com/",
                "\"company.oktapreview.com\"",
            ),
            ("Company-Admin.okta.com", "\"company.okta.com\""),
        ] {
            let error = origin(domain).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for domain in [
            "",
            " ",
            "company.okta.com ",
            "company.okta.com.",
            "company.okta.com/oauth2/default",
            "https://company.okta.com/oauth2/default",
            "company.okta.com?x",
            "company.okta.com#x",
            "user@company.okta.com",
            "http://company.okta.com",
            "http://127.0.0.1.evil.example",
            "ftp://company.okta.com",
            "https://",
            "https:company.okta.com/x",
        ] {
            assert!(origin(domain).is_err(), "{domain:?} was taken");
        }
    }

    #[test]
    fn passwords_are_not_repeated() {
        let error = origin("joe:s3cret@company.okta.com").unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn ids_cannot_change_the_shape_of_the_url() {
        for id in ["default", "aus9o8wzkhckw9TLa0h7z", "boilstream-api"] {
            assert!(is_id(id), "{id}");
        }
        for id in ["", "a/b", "..", "a?b", "a#b", "a b", "https://x", "%2e"] {
            assert!(!is_id(id), "{id:?} was taken");
        }
    }

    #[test]
    fn keys_are_where_each_kind_of_server_publishes_them() {
        let custom = AuthorizationServer::okta_custom("company.okta.com", "aus1").audience("a");
        assert_eq!(custom.issuer(), "https://company.okta.com/oauth2/aus1");
        assert_eq!(
            custom.keys.unwrap().to_string(),
            "https://company.okta.com/oauth2/aus1/v1/keys"
        );
        let org = AuthorizationServer::okta_org("company.okta.com").audience("0oa1");
        assert_eq!(org.issuer(), "https://company.okta.com");
        assert_eq!(
            org.keys.unwrap().to_string(),
            "https://company.okta.com/oauth2/v1/keys"
        );
    }
}
