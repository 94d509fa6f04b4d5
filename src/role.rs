//! Roles, and how groups become roles.

use std::{collections::BTreeMap, fmt};

/// What a token's groups amount to: `read`, `write` or `admin`, each including the ones before it.
///
/// Roles are ordered, so "at least" is a comparison. A token whose groups map to nothing has no
/// role at all, which is `None` wherever a role is asked for.
///
/// ```
/// use portcullis::Role;
///
/// assert!(Role::Read < Role::Write && Role::Write < Role::Admin);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the three roles are the model")]
pub enum Role {
    /// May read.
    Read,
    /// May read and write.
    Write,
    /// May do everything.
    Admin,
}

impl Role {
    /// `"read"`, `"write"` or `"admin"`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which groups of one authorization server grant which role.
///
/// Held by each authorization server on its own, so that one issuer cannot grant another's roles.
/// Group names are compared exactly. If several groups match, the highest role wins; if none does,
/// the token has no role. The default mapping is empty: nobody has a role.
///
/// ```
/// use portcullis::{Role, RoleMapping};
///
/// let roles = RoleMapping::new()
///     .grant(Role::Admin, ["platform-admins"])
///     .grant(Role::Read, ["analysts", "auditors"]);
/// assert_eq!(roles.role_of(["auditors"]), Some(Role::Read));
/// assert_eq!(roles.role_of(["analysts", "platform-admins"]), Some(Role::Admin));
/// assert_eq!(roles.role_of(["Analysts"]), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleMapping(BTreeMap<String, Role>);

impl RoleMapping {
    /// A mapping that grants nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also grants `role` to members of each of `groups`.
    ///
    /// A group that was granted another role before keeps the higher of the two.
    #[must_use]
    pub fn grant<G: Into<String>>(
        mut self,
        role: Role,
        groups: impl IntoIterator<Item = G>,
    ) -> Self {
        for group in groups {
            let granted = self.0.entry(group.into()).or_insert(role);
            *granted = role.max(*granted);
        }
        self
    }

    /// The highest role that any of `groups` grants.
    #[must_use]
    pub fn role_of<'g>(&self, groups: impl IntoIterator<Item = &'g str>) -> Option<Role> {
        self.grant_of(groups).map(|(role, _)| role)
    }

    /// The groups that grant a role.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The highest role that any of `groups` grants, and which of them does; of several, the last.
    pub(crate) fn grant_of<'g>(
        &self,
        groups: impl IntoIterator<Item = &'g str>,
    ) -> Option<(Role, usize)> {
        let groups = groups.into_iter().enumerate();
        let grants = groups.filter_map(|(at, group)| Some((*self.0.get(group)?, at)));
        grants.max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_in_two_lists_gets_the_higher_role_in_either_order() {
        for roles in [[Role::Admin, Role::Read], [Role::Read, Role::Admin]] {
            let mapping = RoleMapping::new()
                .grant(roles[0], ["ops"])
                .grant(roles[1], ["ops"]);
            assert_eq!(mapping.role_of(["ops"]), Some(Role::Admin));
        }
    }

    #[test]
    fn nobody_has_a_role_by_default() {
        assert_eq!(RoleMapping::new().role_of(["admin", "", "*"]), None);
    }
}
