//! Settings that are there, and that nobody reads.

use super::{
    FileSetting, SettingMistake, in_capitals,
    providers::{self, Provider},
    reader::{Reader, is_one_slip},
};

/// The settings that are not a provider's.
const GENERAL: [&str; 11] = [
    "AUTH_PROVIDERS",
    "ADMIN_GROUPS",
    "WRITE_GROUPS",
    "READ_ONLY_GROUPS",
    "SCOPE_HIERARCHY",
    "CLOCK_LEEWAY",
    "TOKEN_HEADER",
    "JWKS_CACHE_TTL",
    "JWKS_MAX_KEYS",
    "TOKEN_CACHE_MAX_ENTRIES",
    "TOKEN_CACHE_MAX_BYTES",
];

/// The settings that nobody reads, and that were probably meant to be read: of the variables those that
/// are nearly one that is read, of a file all, but those of a provider that is just not trusted.
pub(super) fn mistakes(reader: &Reader, trusted: &[Provider]) -> Vec<SettingMistake> {
    let settings = Settings::of(trusted);
    let vars = reader.variables().filter_map(|name| settings.of_var(name));
    let file = reader.file().filter_map(|(name, setting)| {
        let is_read = settings.read.iter().any(|read| read == name);
        (!is_read).then(|| settings.of_file(reader, name, setting))?
    });
    let mut mistakes: Vec<_> = vars.chain(file).collect();
    mistakes.sort_by(|a, b| a.setting.cmp(&b.setting));
    // A table that is no provider's is one mistake, whatever it holds.
    mistakes.dedup();
    mistakes
}

/// The settings that are read.
struct Settings<'p> {
    trusted: &'p [Provider],
    read: Vec<String>,
}

impl<'p> Settings<'p> {
    fn of(trusted: &'p [Provider]) -> Self {
        let general = GENERAL.into_iter().map(str::to_owned);
        let of_providers = trusted.iter().flat_map(Provider::settings);
        Self {
            trusted,
            read: general.chain(of_providers).collect(),
        }
    }

    fn of_var(&self, name: &str) -> Option<SettingMistake> {
        if self.read.iter().any(|read| read == name) {
            return None;
        }
        let advice = match self.for_all(name) {
            Some(general) => format!("{general} is for all providers"),
            None => format!("{}, perhaps?", self.meant(name)?),
        };
        Some(SettingMistake {
            message: format!("{name} is set, but no such variable is read: {advice}"),
            setting: name.to_owned(),
            // What it says may be a secret.
            found: None,
        })
    }

    fn of_file(&self, reader: &Reader, name: &str, file: &FileSetting) -> Option<SettingMistake> {
        let path = &*file.path;
        let table = path.split_once('.').map(|(table, _)| table);
        if table.is_some_and(|table| self.is_spare(table)) {
            return None;
        }
        let unknown = format!("no setting is called {path}");
        let strange = table.filter(|table| !providers::is_one(table));
        let (setting, message) = match (self.for_all(name), self.meant(name), strange) {
            (Some(general), ..) => {
                let general = reader.in_file(general);
                (path, format!("{unknown}: {general} is for all providers"))
            }
            (None, Some(meant), _) => {
                let meant = reader.in_file(meant);
                (path, format!("{unknown}: {meant}, perhaps?"))
            }
            (None, None, Some(table)) => {
                let is_around = is_around(reader, table);
                (table, providers::no_provider(table, is_around))
            }
            (None, None, None) => (path, unknown),
        };
        Some(SettingMistake {
            setting: setting.to_owned(),
            found: None,
            message,
        })
    }

    /// Whether this table is that of a provider that is not trusted.
    fn is_spare(&self, table: &str) -> bool {
        providers::is_one(table) && {
            let prefix = providers::prefix(table);
            self.trusted.iter().all(|of| of.prefix != prefix)
        }
    }

    /// The setting for all providers that this is with a provider's prefix in front.
    fn for_all(&self, name: &str) -> Option<&'static str> {
        let mut trusted = self.trusted.iter();
        trusted.find_map(|of| {
            let rest = name.strip_prefix(&*of.prefix)?.strip_prefix('_')?;
            GENERAL.into_iter().find(|general| *general == rest)
        })
    }

    fn meant(&self, name: &str) -> Option<&str> {
        let mut read = self.read.iter().map(String::as_str);
        read.find(|read| is_one_slip(name, read))
    }
}

/// Whether a table has settings in it that are for all providers, which stand in none.
fn is_around(reader: &Reader, table: &str) -> bool {
    reader.file().any(|(_, setting)| {
        let parts = setting.path.split_once('.');
        parts.is_some_and(|(of, key)| of == table && GENERAL.contains(&&*in_capitals(key)))
    })
}
