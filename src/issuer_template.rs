//! Issuers of which there is one for each tenant, all with the same keys.

use std::collections::BTreeSet;

use crate::error::ConfigError;

/// The tenants of an authorization server that are trusted, and how their issuers are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tenants {
    /// Each fits the tokens of every tenant.
    pub(crate) issuers: Vec<IssuerTemplate>,
    /// The tenants' ids; `None` is all there are.
    pub(crate) allowed: Option<BTreeSet<String>>,
    /// How the member `issuer` of a key is written that may sign for a tenant. A key without such a
    /// member, or that is another tenant's, signs for none.
    pub(crate) key_issuer: IssuerTemplate,
}

/// The claim that names a token's tenant.
pub(crate) const TENANT_CLAIM: &str = "tid";

impl Tenants {
    /// The tenant that this is an issuer of, if it is trusted.
    pub(crate) fn of_issuer<'i>(&self, issuer: &'i str) -> Option<&'i str> {
        let tenant = self.issuers.iter().find_map(|t| t.tenant_of(issuer))?;
        let is_allowed = match &self.allowed {
            Some(allowed) => allowed.contains(tenant),
            None => true,
        };
        is_allowed.then_some(tenant)
    }

    /// Whether a key whose member `issuer` is this one may sign for this tenant.
    pub(crate) fn is_key_of(&self, key_issuer: Option<&str>, tenant: &str) -> bool {
        key_issuer.is_some_and(|issuer| {
            IssuerTemplate::of(issuer).fill(tenant) == self.key_issuer.fill(tenant)
        })
    }

    /// An issuer that both lists have.
    pub(crate) fn shared_with(&self, others: &Self) -> Option<String> {
        let (ours, theirs) = (self.allowed.as_ref()?, others.allowed.as_ref()?);
        let filled = ours.intersection(theirs).next()?;
        let mut issuers = self.issuers.iter().map(|issuer| issuer.fill(filled));
        issuers.find(|issuer| others.of_issuer(issuer).is_some())
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let Some(allowed) = &self.allowed else {
            return Ok(());
        };
        if allowed.is_empty() {
            return Err(ConfigError::NoTenant);
        }
        match allowed.iter().find(|tenant| !is_guid(tenant)) {
            Some(bad) => Err(ConfigError::InvalidTenant { found: bad.clone() }),
            None => Ok(()),
        }
    }
}

/// A text with a place for a tenant's id, or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IssuerTemplate {
    before: String,
    /// `None` if there is no such place.
    after: Option<String>,
}

impl IssuerTemplate {
    /// `{tenantid}`, in any case, is the place.
    pub(crate) fn of(text: &str) -> Self {
        const PLACE: &str = "{tenantid}";
        let lower = text.to_ascii_lowercase();
        match lower.find(PLACE) {
            Some(at) => Self {
                before: text[..at].to_owned(),
                after: Some(text[at + PLACE.len()..].to_owned()),
            },
            None => Self {
                before: text.to_owned(),
                after: None,
            },
        }
    }

    pub(crate) fn fill(&self, tenant: &str) -> String {
        match &self.after {
            Some(after) => format!("{}{tenant}{after}", self.before),
            None => self.before.clone(),
        }
    }

    fn tenant_of<'i>(&self, issuer: &'i str) -> Option<&'i str> {
        let after = self.after.as_deref()?;
        let tenant = issuer.strip_prefix(&*self.before)?.strip_suffix(after)?;
        is_guid(tenant).then_some(tenant)
    }
}

/// `8-4-4-4-12` hexadecimal digits.
pub(crate) fn is_guid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "11111111-2222-3333-4444-555555555555";
    const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

    fn tenants(allowed: Option<&[&str]>) -> Tenants {
        Tenants {
            issuers: vec![
                IssuerTemplate::of("https://login.example/{tenantid}/v2.0"),
                IssuerTemplate::of("https://sts.example/{tenantid}/"),
            ],
            allowed: allowed.map(|allowed| allowed.iter().map(|&t| t.to_owned()).collect()),
            key_issuer: IssuerTemplate::of("https://login.example/{tenantid}/v2.0"),
        }
    }

    #[test]
    fn only_a_guid_on_the_list_fills_the_template() {
        let one = tenants(Some(&[A]));
        let all = tenants(None);
        let issuer = |tenant: &str| format!("https://login.example/{tenant}/v2.0");
        assert_eq!(one.of_issuer(&issuer(A)), Some(A));
        assert_eq!(one.of_issuer(&format!("https://sts.example/{A}/")), Some(A));
        assert_eq!(one.of_issuer(&issuer(CONSUMERS)), None);
        assert_eq!(all.of_issuer(&issuer(CONSUMERS)), Some(CONSUMERS));
        for tenant in [
            "",
            "common",
            "{tenantid}",
            "..",
            &format!("{A}/x"),
            &A[1..],
            &format!("x{A}"),
        ] {
            assert_eq!(all.of_issuer(&issuer(tenant)), None, "{tenant}");
        }
        for issuer in [
            format!("https://login.example/{A}/v2.0/"),
            format!("https://login.example/{A}"),
            format!("https://LOGIN.example/{A}/v2.0"),
            format!("https://sts.example/{A}"),
        ] {
            assert_eq!(all.of_issuer(&issuer), None, "{issuer}");
        }
    }

    #[test]
    fn a_key_signs_for_the_tenants_that_it_names() {
        let tenants = tenants(None);
        let template = Some("https://login.example/{TenantId}/v2.0");
        assert!(tenants.is_key_of(template, A));
        let own = format!("https://login.example/{CONSUMERS}/v2.0");
        assert!(tenants.is_key_of(Some(&own), CONSUMERS));
        assert!(!tenants.is_key_of(Some(&own), A));
        assert!(!tenants.is_key_of(Some("https://evil.example/{tenantid}/v2.0"), A));
        assert!(!tenants.is_key_of(None, A));
    }

    #[test]
    fn lists_of_tenants_hold_guids() {
        assert!(tenants(Some(&[A])).check().is_ok());
        assert!(tenants(None).check().is_ok());
        for bad in [&[][..], &["common"], &[A, "contoso.example"]] {
            assert!(tenants(Some(bad)).check().is_err(), "{bad:?}");
        }
        let none = tenants(Some(&[])).check().unwrap_err();
        assert!(none.to_string().starts_with("no tenant is named"), "{none}");
    }
}
