//! Reads settings one by one, and remembers what is wrong with each.

use std::{collections::HashSet, fmt, time::Duration};

use http::{HeaderName, header::AUTHORIZATION};

use super::{
    FileSetting, ResourceServerConfig, SettingMistake, Value, placeholder::is_placeholder,
};
use crate::{
    error::without_userinfo, jwks_policy::JwksPolicy, scope::ScopeHierarchy,
    token_cache_policy::TokenCachePolicy,
};

pub(super) struct Reader {
    config: ResourceServerConfig,
    /// What the variables of each provider begin with, and what its table in a file is called.
    tables: Vec<(String, String)>,
    mistakes: Vec<SettingMistake>,
}

impl Reader {
    pub(super) fn new(config: ResourceServerConfig) -> Self {
        Self {
            config,
            tables: Vec::new(),
            mistakes: Vec::new(),
        }
    }

    pub(super) fn into_mistakes(self) -> Vec<SettingMistake> {
        self.mistakes
    }

    /// How keys are fetched, of every authorization server.
    pub(super) fn jwks(&mut self) -> JwksPolicy {
        let ttl_cap = self.seconds("JWKS_CACHE_TTL", 3_600, 1, 86_400);
        let max_keys = self.number("JWKS_MAX_KEYS", 100, 1, 1_000);
        JwksPolicy::default()
            .ttl_cap(ttl_cap)
            .max_keys(usize::try_from(max_keys).unwrap_or(usize::MAX))
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.config.vars.keys().map(String::as_str)
    }

    /// The settings of the file, by the names of their variables.
    pub(super) fn file(&self) -> impl Iterator<Item = (&str, &FileSetting)> {
        let settings = self.config.file.iter();
        settings.map(|(name, setting)| (name.as_str(), setting))
    }

    pub(super) fn tables_of_file(&self) -> impl Iterator<Item = &str> {
        let paths = self.file().map(|(_, setting)| &setting.path);
        paths.filter_map(|path| Some(path.split_once('.')?.0))
    }

    /// In a file, the settings whose variables begin with `prefix` are in the table `table`.
    pub(super) fn add_table(&mut self, prefix: String, table: String) {
        self.tables.push((prefix, table));
    }

    pub(super) fn token_header(&mut self, is_needed: bool) -> Option<HeaderName> {
        const NAME: &str = "TOKEN_HEADER";
        const EXPECTED: &str =
            "the name of the header that tokens are in, such as `x-goog-iap-jwt-assertion`";
        let text = if is_needed {
            self.required(NAME, EXPECTED)
        } else {
            self.text(NAME, EXPECTED)
        }?;
        match text.parse() {
            Ok(name) if name != AUTHORIZATION => Some(name),
            _ => {
                self.mistake(NAME, text, EXPECTED);
                None
            }
        }
    }

    pub(super) fn token_cache(&mut self) -> TokenCachePolicy {
        let default = TokenCachePolicy::default();
        let most_entries = TokenCachePolicy::MOST_ENTRIES as u64;
        let least_bytes = TokenCachePolicy::LEAST_BYTES as u64;
        TokenCachePolicy {
            max_entries: self.size(
                "TOKEN_CACHE_MAX_ENTRIES",
                default.max_entries,
                1,
                most_entries,
            ),
            max_bytes: self.size(
                "TOKEN_CACHE_MAX_BYTES",
                default.max_bytes,
                least_bytes,
                1 << 40,
            ),
        }
    }

    pub(super) fn scope_hierarchy(&mut self) -> ScopeHierarchy {
        const NAME: &str = "SCOPE_HIERARCHY";
        const EXPECTED: &str = "scopes with `>` between them, each including the next, such as `admin:system>write:data`";
        let mut hierarchy = ScopeHierarchy::new();
        for line in self.list(NAME, EXPECTED).unwrap_or_default() {
            let scopes: Vec<_> = line.split('>').map(str::trim).collect();
            let mut next = hierarchy.clone();
            for pair in scopes.windows(2) {
                next = next.includes(pair[0], [pair[1]]);
            }
            if scopes.len() < 2 || next.check().is_err() {
                self.mistake(NAME, line, EXPECTED);
            } else {
                hierarchy = next;
            }
        }
        hierarchy
    }

    /// Values, each there and none of them empty; `None` if there is no such setting, or it is not
    /// right.
    pub(super) fn list(&mut self, name: &str, expected: &str) -> Option<Vec<String>> {
        self.is_text(name, "a string, or a list of strings")?;
        let values = match self.value(name, expected)? {
            Value::Many(values) => values,
            Value::One(text) | Value::Bare(text) => text
                .split(',')
                .map(|value| value.trim().to_owned())
                .collect(),
        };
        let is_good = |value: &String| !value.is_empty() && value.trim() == value;
        if values.is_empty() || !values.iter().all(is_good) {
            self.mistake(name, values.join(","), expected);
            return None;
        }
        Some(values)
    }

    pub(super) fn required_list(&mut self, name: &str, expected: &str) -> Option<Vec<String>> {
        self.require(name, expected);
        self.list(name, expected)
    }

    /// As [`list`](Self::list), of audiences or ids of clients: none of them what stands for one in a
    /// guide.
    pub(super) fn ids(&mut self, name: &str, expected: &str) -> Option<Vec<String>> {
        let ids = self.list(name, expected)?;
        let is_real = |id: &String| self.is_real(name, id, expected);
        ids.iter().all(is_real).then_some(ids)
    }

    pub(super) fn required_ids(&mut self, name: &str, expected: &str) -> Option<Vec<String>> {
        self.require(name, expected);
        self.ids(name, expected)
    }

    /// As [`list`](Self::list), each of them once and as `is_good` wants it.
    pub(super) fn list_of(
        &mut self,
        name: &str,
        expected: &str,
        is_good: impl Fn(&str) -> bool,
    ) -> Option<Vec<String>> {
        let values = self.list(name, expected)?;
        let distinct: HashSet<_> = values.iter().collect();
        if distinct.len() != values.len() || !values.iter().all(|value| is_good(value)) {
            self.mistake(name, values.join(","), expected);
            return None;
        }
        Some(values)
    }

    /// Names of groups, empty ones left out; `None` if there is no such setting.
    pub(super) fn groups(&mut self, name: &str) -> Option<Vec<String>> {
        self.is_text(name, "a string, or a list of strings")?;
        let values = match self.value(name, "names of groups, comma-separated")? {
            Value::Many(values) => values,
            Value::One(text) | Value::Bare(text) => text.split(',').map(str::to_owned).collect(),
        };
        let names = values.iter().map(|name| name.trim());
        Some(
            names
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }

    pub(super) fn boolean(&mut self, name: &str) -> bool {
        match self.one(name, "`true` or `false`").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                self.mistake(name, other, "`true` or `false`");
                false
            }
        }
    }

    /// A number from a range, or zero.
    fn size(&mut self, name: &str, default: usize, min: u64, max: u64) -> usize {
        let expected = format!("0, or a whole number from {min} to {max}");
        let is_allowed = |number| number == 0 || (min..=max).contains(&number);
        let number = self.number_that(name, &expected, is_allowed);
        usize::try_from(number.unwrap_or(default as u64)).unwrap_or(usize::MAX)
    }

    pub(super) fn seconds(&mut self, name: &str, default: u64, min: u64, max: u64) -> Duration {
        Duration::from_secs(self.number(name, default, min, max))
    }

    fn number(&mut self, name: &str, default: u64, min: u64, max: u64) -> u64 {
        self.number_in(name, min, max).unwrap_or(default)
    }

    pub(super) fn number_in(&mut self, name: &str, min: u64, max: u64) -> Option<u64> {
        let expected = format!("a whole number from {min} to {max}");
        self.number_that(name, &expected, |number| (min..=max).contains(&number))
    }

    fn number_that(
        &mut self,
        name: &str,
        expected: &str,
        is_allowed: impl Fn(u64) -> bool,
    ) -> Option<u64> {
        let text = self.one(name, expected)?;
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits && is_allowed(number) => Some(number),
            _ => {
                self.mistake(name, text, expected);
                None
            }
        }
    }

    pub(super) fn required(&mut self, name: &str, expected: &str) -> Option<String> {
        self.require(name, expected);
        self.text(name, expected)
    }

    /// As [`required`](Self::required), of a value that is shown to nobody.
    #[cfg(feature = "introspection")]
    pub(super) fn required_secret(&mut self, name: &str, expected: &str) -> Option<String> {
        self.require(name, expected);
        let secret = match (self.config.vars.get(name), self.config.file.get(name)) {
            (None, None) => return None,
            (Some(secret), _) => secret.to_str().map(str::to_owned),
            (None, Some(setting)) => match &setting.value {
                Value::One(secret) => Some(secret.clone()),
                Value::Many(_) | Value::Bare(_) => None,
            },
        };
        let secret = secret.filter(|secret| !secret.is_empty());
        if secret.is_none() {
            self.mistake(name, "…", expected);
        }
        secret
    }

    fn require(&mut self, name: &str, expected: &str) {
        if !self.is_set(name) {
            let message = format!("{} is not set: expected {expected}", self.called(name));
            self.add(name, None, message);
        }
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.config.vars.contains_key(name) || self.config.file.contains_key(name)
    }

    /// A value that is not empty and has no white space around it, which is never meant.
    pub(super) fn text(&mut self, name: &str, expected: &str) -> Option<String> {
        self.is_text(name, "a string")?;
        let text = self.one(name, expected)?;
        if text.is_empty() || text.trim() != text {
            self.mistake(name, text, expected);
            return None;
        }
        Some(text)
    }

    /// As [`text`](Self::text), of an audience or the id of a client: not what stands for one in a guide.
    pub(super) fn id(&mut self, name: &str, expected: &str) -> Option<String> {
        let id = self.text(name, expected)?;
        self.is_real(name, &id, expected).then_some(id)
    }

    pub(super) fn required_id(&mut self, name: &str, expected: &str) -> Option<String> {
        self.require(name, expected);
        self.id(name, expected)
    }

    fn is_real(&mut self, name: &str, id: &str, expected: &str) -> bool {
        let is_real = !is_placeholder(id);
        if !is_real {
            let problem = format!(", which is a placeholder: write {expected}");
            self.wrong(name, id, &problem);
        }
        is_real
    }

    /// `None` if a file has a boolean or a fraction where `wanted` belongs.
    fn is_text(&mut self, name: &str, wanted: &str) -> Option<()> {
        if !self.config.vars.contains_key(name)
            && let Some(setting) = self.config.file.get(name)
            && let Value::Bare(found) = &setting.value
        {
            let (found, path) = (found.clone(), &setting.path);
            let message = format!("{path} is {found}: write {wanted}");
            self.add(name, Some(found), message);
            return None;
        }
        Some(())
    }

    fn one(&mut self, name: &str, expected: &str) -> Option<String> {
        match self.value(name, expected)? {
            Value::One(text) | Value::Bare(text) => Some(text),
            Value::Many(values) => {
                self.mistake(name, values.join(","), format!("one value: {expected}"));
                None
            }
        }
    }

    fn value(&mut self, name: &str, expected: &str) -> Option<Value> {
        let Some(text) = self.config.vars.get(name) else {
            return self
                .config
                .file
                .get(name)
                .map(|setting| setting.value.clone());
        };
        match text.clone().into_string() {
            Ok(text) => Some(Value::One(text)),
            Err(other) => {
                self.mistake(name, other.to_string_lossy(), expected);
                None
            }
        }
    }

    pub(super) fn mistake(
        &mut self,
        name: &str,
        found: impl AsRef<str>,
        expected: impl fmt::Display,
    ) {
        self.wrong(name, found.as_ref(), &format!(": expected {expected}"));
    }

    /// A value with what is to be said of it.
    pub(super) fn wrong(&mut self, name: &str, found: &str, problem: &str) {
        let found = without_userinfo(found);
        let message = format!("{} is {found:?}{problem}", self.path_of(name));
        self.add(name, Some(found), message);
    }

    /// A setting that should not be there, whatever it says.
    pub(super) fn set_but(&mut self, name: &str, problem: impl fmt::Display) {
        let message = format!("{} is set, but {problem}", self.path_of(name));
        self.add(name, None, message);
    }

    fn add(&mut self, name: &str, found: Option<String>, message: String) {
        let mistake = SettingMistake {
            setting: self.path_of(name),
            found,
            message,
        };
        // One that is for all providers is read for each.
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    /// What a setting says, to be shown.
    pub(super) fn shown(&self, name: &str) -> String {
        match (self.config.vars.get(name), self.config.file.get(name)) {
            (Some(text), _) => text.to_string_lossy().into_owned(),
            (None, Some(setting)) => match &setting.value {
                Value::One(text) | Value::Bare(text) => text.clone(),
                Value::Many(values) => values.join(","),
            },
            (None, None) => String::new(),
        }
    }

    /// How the operator calls a setting: as it is written in the file, or as a variable.
    fn path_of(&self, name: &str) -> String {
        match self.config.file.get(name) {
            Some(setting) if !self.config.vars.contains_key(name) => setting.path.clone(),
            _ => name.to_owned(),
        }
    }

    /// As [`path_of`](Self::path_of), or, where there is a file and it has no such setting, both.
    pub(super) fn called(&self, name: &str) -> String {
        if self.is_set(name) || self.config.file.is_empty() {
            self.path_of(name)
        } else {
            format!("{name} ({} in a file)", self.in_file(name))
        }
    }

    /// Where a setting would be written in a file.
    pub(super) fn in_file(&self, name: &str) -> String {
        let tables = self.tables.iter().filter_map(|(prefix, table)| {
            let rest = name.strip_prefix(&**prefix)?.strip_prefix('_')?;
            Some((table, rest))
        });
        // Of `oidc` and `oidc_partners`, the latter.
        match tables.min_by_key(|(_, rest)| rest.len()) {
            Some((table, rest)) => format!("{table}.{}", rest.to_ascii_lowercase()),
            None => name.to_ascii_lowercase(),
        }
    }
}

/// Whether the names differ in one character: added, left out, or another one.
pub(super) fn is_one_slip(a: &str, b: &str) -> bool {
    let same = |(x, y): &(u8, u8)| x == y;
    let front = a.bytes().zip(b.bytes()).take_while(same).count();
    let back = a
        .bytes()
        .rev()
        .zip(b.bytes().rev())
        .take_while(same)
        .count();
    let longer = a.len().max(b.len());
    a.len().abs_diff(b.len()) <= 1 && front + back + 1 >= longer
}
