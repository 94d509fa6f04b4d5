//! The operator's mistakes, found when the configuration is built and never at request time.

use std::fmt;

/// A mistake in the configuration.
///
/// Each says what was found and what to write instead. User names and passwords of URLs are left
/// out of what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The Okta domain is the placeholder of a guide.
    #[error(
        "Okta domain {found:?} is a placeholder: write the domain of your Okta org, such as \"company.okta.com\""
    )]
    PlaceholderDomain {
        /// As configured.
        found: String,
    },
    /// The Okta domain is that of the admin console, which issues no tokens.
    #[error(
        "Okta domain {found:?} is the admin console's: write it without \"-admin\", {expected:?}"
    )]
    AdminDomain {
        /// As configured.
        found: String,
        /// What to write instead.
        expected: String,
    },
    /// The Okta domain is neither a domain nor an origin.
    #[error(
        "Okta domain {found:?} {problem}: write a domain such as \"company.okta.com\", or an origin such as \"https://company.okta.com\""
    )]
    InvalidDomain {
        /// As configured.
        found: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The id of an Okta custom authorization server has characters that no id has.
    #[error(
        "Okta authorization server id {found:?} is not an id: write the last part of its issuer, such as \"default\" or \"aus9o8wzkhckw9TLa0h7z\""
    )]
    InvalidAuthorizationServerId {
        /// As configured.
        found: String,
    },
    /// An issuer is not a URL that tokens can be trusted from.
    #[error("issuer {found:?} {problem}: write the exact `iss` of its tokens, an https URL")]
    InvalidIssuer {
        /// As configured.
        found: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The URL of a key set is not one that keys can be trusted from.
    #[error("key set URL {found:?} {problem}: write an https URL")]
    InvalidJwksUri {
        /// As configured.
        found: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two authorization servers, or one twice, claim the same issuer.
    #[error("issuer {issuer:?} is configured twice: trust each issuer once")]
    DuplicateIssuer {
        /// The issuer.
        issuer: String,
    },
    /// Two authorization servers are to be asked about opaque tokens.
    #[error(
        "opaque tokens do not say whose they are: only one authorization server can be asked, and both {issuer:?} and {other:?} have an introspection endpoint"
    )]
    SeveralIntrospections {
        /// One issuer.
        issuer: String,
        /// The other.
        other: String,
    },
    /// Nobody is trusted.
    #[error("no authorization server is trusted: add one with `trust`, or those of `tenants`")]
    NoAuthorizationServer,
    /// An audience is empty.
    #[error(
        "the audience for issuer {issuer:?} is empty: write the `aud` that its tokens for this API carry"
    )]
    EmptyAudience {
        /// The issuer.
        issuer: String,
    },
    /// The list of algorithms is empty, or has one that this build lacks.
    #[error("the algorithms for issuer {issuer:?} {problem}")]
    InvalidAlgorithms {
        /// The issuer.
        issuer: String,
        /// What is wrong with them.
        problem: &'static str,
    },
    /// A setting about claims names no claim, or no value.
    #[error(
        "the {setting} for issuer {issuer:?} names nothing: write a name such as \"groups\", or a JSON pointer such as \"/realm_access/roles\", and at least one value where values are asked for"
    )]
    InvalidClaim {
        /// The issuer.
        issuer: String,
        /// Which setting.
        setting: &'static str,
    },
    /// The keys that are given are none.
    #[error(
        "the key set that is given {problem}: write the JSON that its authorization server publishes"
    )]
    InvalidJwks {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Of several tenants that are to be trusted, none is named.
    #[error(
        "no tenant is named: write at least one directory (tenant) id, such as \"72f988bf-86f1-41af-91ab-2d7cd011db47\""
    )]
    NoTenant,
    /// The id of a tenant is none.
    #[error(
        "tenant {found:?} is not an id: write the directory (tenant) id, such as \"72f988bf-86f1-41af-91ab-2d7cd011db47\""
    )]
    InvalidTenant {
        /// As configured.
        found: String,
    },
    /// What a preset is made from is not what its product calls so.
    #[error("{setting} {found:?} {problem}: write {expected}")]
    InvalidSetting {
        /// Which setting, such as "Auth0 domain".
        setting: &'static str,
        /// As configured.
        found: String,
        /// What is wrong with it.
        problem: &'static str,
        /// What makes sense.
        expected: &'static str,
    },
    /// A scope hierarchy holds something that is no scope token of RFC 6749 §3.3.
    #[error(
        "scope {found:?} of the scope hierarchy is not a scope token: write one without spaces or quotes"
    )]
    InvalidScopeHierarchy {
        /// As configured.
        found: String,
    },
    /// A required scope is not a scope token of RFC 6749 §3.3, or there is none.
    #[error(
        "scope {found:?} is not a scope token: write one or more, each without spaces or quotes"
    )]
    InvalidScope {
        /// As configured.
        found: String,
    },
    /// Two patterns of an access policy fit the same paths and methods.
    #[error("pattern {found:?} fits the same requests as one before: write one of them")]
    DuplicatePattern {
        /// As configured.
        found: String,
    },
    /// A pattern of an access policy is not one.
    #[error(
        "pattern {found:?} {problem}: write a path such as \"/package.Service/Method\", \"/users/{{id}}\" or \"/admin/*\", with a method in front if need be, \"GET /users\""
    )]
    InvalidPattern {
        /// As configured.
        found: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A number or a duration is outside of what makes sense.
    #[error("{setting} is {found}: write {expected}")]
    OutOfRange {
        /// Which setting.
        setting: &'static str,
        /// As configured.
        found: String,
        /// What makes sense.
        expected: &'static str,
    },
}

impl ConfigError {
    pub(crate) fn out_of_range(
        setting: &'static str,
        found: impl fmt::Debug,
        expected: &'static str,
    ) -> Self {
        Self::OutOfRange {
            setting,
            found: format!("{found:?}"),
            expected,
        }
    }
}

/// A URL or domain as it was found, without what stands in front of an `@`.
pub(crate) fn without_userinfo(found: &str) -> String {
    match found.rsplit_once('@') {
        Some((_, rest)) => format!("…@{rest}"),
        None => found.to_owned(),
    }
}
