//! How the source logs in: what a pipeline says, and what that comes to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::location::hides_what_is_sent;
use crate::secret::Secret;

/// How the source logs in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SaslConfig {
    /// What is shown to the brokers.
    pub mechanism: SaslMechanism,
    /// The user, with `plain` and `scram_...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password, with `plain` and `scram_...`; keep it in the environment: `"${KAFKA_PASSWORD}"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Address of an OAuth 2.0 or OpenID Connect server that gives tokens, with `oauthbearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_url: Option<String>,
    /// Who asks for a token at `token_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// What proves it; keep it in the environment: `"${KAFKA_CLIENT_SECRET}"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
    /// What the token is to be good for: scopes with spaces between, where `token_url` asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// File that holds a token (a JWT), with `oauthbearer` in the place of `token_url`. Whoever writes
    /// it writes a newer one before the token expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
    /// Region of the brokers, with `msk_iam`. Without it: the one in the name of the first broker,
    /// else that of `aws`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// What is shown to the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SaslMechanism {
    /// The password as it is: only together with `tls`.
    Plain,
    /// The password, proven by SCRAM with SHA-256.
    ScramSha256,
    /// The password, proven by SCRAM with SHA-512.
    ScramSha512,
    /// A token of `token_url` or `token_file`: only together with `tls`.
    Oauthbearer,
    /// The AWS credentials of the process, for Amazon MSK: only together with `tls`.
    #[cfg(feature = "aws")]
    MskIam,
}

impl SaslMechanism {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::Oauthbearer => "OAUTHBEARER",
            #[cfg(feature = "aws")]
            Self::MskIam => "OAUTHBEARER",
        }
    }

    /// Its name in a pipeline.
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::ScramSha256 => "scram_sha256",
            Self::ScramSha512 => "scram_sha512",
            Self::Oauthbearer => "oauthbearer",
            #[cfg(feature = "aws")]
            Self::MskIam => "msk_iam",
        }
    }
}

/// What a whole [`SaslConfig`] comes to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Login {
    /// A name and a password.
    Password { username: String, password: Secret },
    /// A token that a server gives to a client that it knows (RFC 6749, section 4.4).
    ClientCredentials(ClientCredentials),
    /// A token that lies in a file.
    TokenFile(String),
    /// A token that is signed with AWS credentials, perhaps for a region.
    #[cfg(feature = "aws")]
    MskIam(Option<String>),
}

/// A client of an authorization server.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ClientCredentials {
    pub(super) token_url: String,
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    pub(super) scope: Option<String>,
}

/// A setting that does not fit to the others: its key (none: the login as a whole), what is wrong,
/// and what is allowed.
pub type Misfit = (Option<&'static str>, String, &'static str);

/// What a way to log in asks for.
struct Wanted {
    /// What the user calls it.
    way: String,
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

impl SaslConfig {
    /// What does not fit together, where connections are encrypted or not.
    pub fn misfits(&self, is_encrypted: bool) -> Vec<Misfit> {
        let Wanted { way, required, optional } = self.wanted();
        let given = self.given();
        let mut misfits = Vec::new();
        for &key in given.iter().filter(|key| !required.contains(key) && !optional.contains(key)) {
            misfits.push((Some(key), format!("says nothing with {way}"), "leave it out"));
        }
        let lacking: Vec<String> = required
            .iter()
            .filter(|key| !given.contains(key))
            .map(|key| format!("`{key}`"))
            .collect();
        if !lacking.is_empty() {
            let what = format!("{way} lacks {}", lacking.join(" and "));
            misfits.push((None, what, self.mechanism.needs()));
        }
        if self.token_url.as_deref().is_some_and(|url| !hides_what_is_sent(url)) {
            let what = "is no address to which a secret may be sent";
            let allowed = "an address with `https://` (`http://` to this machine alone)";
            misfits.push((Some("token_url"), what.to_owned(), allowed));
        }
        if let (false, Some((what, allowed))) = (is_encrypted, self.mechanism.shows()) {
            let what = format!("would send the {what} as it is over an open connection");
            misfits.push((None, what, allowed));
        }
        misfits
    }

    /// What the settings come to; `None` where they do not fit together.
    pub(super) fn login(&self) -> Option<Login> {
        match self.mechanism {
            SaslMechanism::Plain | SaslMechanism::ScramSha256 | SaslMechanism::ScramSha512 => {
                let (username, password) = (self.username.clone()?, self.password.clone()?);
                Some(Login::Password { username, password })
            }
            SaslMechanism::Oauthbearer => match &self.token_file {
                Some(path) => Some(Login::TokenFile(path.clone())),
                None => Some(Login::ClientCredentials(ClientCredentials {
                    token_url: self.token_url.clone()?,
                    client_id: self.client_id.clone()?,
                    client_secret: self.client_secret.clone()?,
                    scope: self.scope.clone(),
                })),
            },
            #[cfg(feature = "aws")]
            SaslMechanism::MskIam => Some(Login::MskIam(self.region.clone())),
        }
    }

    fn wanted(&self) -> Wanted {
        let mechanism = format!("`mechanism: {}`", self.mechanism.name());
        let wanted = |way, required, optional| Wanted { way, required, optional };
        match self.mechanism {
            SaslMechanism::Plain | SaslMechanism::ScramSha256 | SaslMechanism::ScramSha512 => {
                wanted(mechanism, &["username", "password"], &[])
            }
            SaslMechanism::Oauthbearer if self.token_file.is_some() => {
                wanted("`token_file`".to_owned(), &["token_file"], &[])
            }
            SaslMechanism::Oauthbearer => {
                wanted(mechanism, &["token_url", "client_id", "client_secret"], &["scope"])
            }
            #[cfg(feature = "aws")]
            SaslMechanism::MskIam => wanted(mechanism, &[], &["region"]),
        }
    }

    /// The keys that are set, but for the mechanism.
    fn given(&self) -> Vec<&'static str> {
        let keys = [
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
            ("token_url", self.token_url.is_some()),
            ("client_id", self.client_id.is_some()),
            ("client_secret", self.client_secret.is_some()),
            ("scope", self.scope.is_some()),
            ("token_file", self.token_file.is_some()),
            ("region", self.region.is_some()),
        ];
        keys.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| key).collect()
    }
}

impl SaslMechanism {
    /// What it is set up with.
    fn needs(self) -> &'static str {
        match self {
            Self::Plain | Self::ScramSha256 | Self::ScramSha512 => "`username` and `password`",
            Self::Oauthbearer => {
                "`token_url`, `client_id` and `client_secret`, or `token_file` alone"
            }
            #[cfg(feature = "aws")]
            Self::MskIam => "nothing else, or `region`",
        }
    }

    /// What it shows to whoever listens, and what to do about it.
    fn shows(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Plain => Some(("password", "add `tls: {}`, or a SCRAM mechanism")),
            Self::ScramSha256 | Self::ScramSha512 => None,
            Self::Oauthbearer => Some(("token", "add `tls: {}`")),
            #[cfg(feature = "aws")]
            Self::MskIam => Some(("token", "add `tls: {}`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn misfits(yaml: &str, is_encrypted: bool) -> Vec<String> {
        let sasl: SaslConfig = serde_saphyr::from_str(yaml).unwrap();
        let shown = |(key, what, allowed): Misfit| {
            format!("{}: {what}; {allowed}", key.unwrap_or_default())
        };
        sasl.misfits(is_encrypted).into_iter().map(shown).collect()
    }

    #[test]
    fn each_mechanism_has_its_own_keys() {
        for sound in [
            "{ mechanism: plain, username: a, password: b }",
            "{ mechanism: oauthbearer, token_file: a.jwt }",
            "{ mechanism: oauthbearer, token_url: \"https://idp/token\", client_id: a, client_secret: b, scope: c }",
            "{ mechanism: oauthbearer, token_url: \"http://127.0.0.1:1/token\", client_id: a, client_secret: b }",
        ] {
            assert_eq!(misfits(sound, true), Vec::<String>::new(), "{sound}");
        }
        assert_eq!(
            misfits("{ mechanism: oauthbearer, username: a, client_id: b }", true),
            [
                "username: says nothing with `mechanism: oauthbearer`; leave it out",
                ": `mechanism: oauthbearer` lacks `token_url` and `client_secret`; `token_url`, `client_id` and `client_secret`, or `token_file` alone",
            ]
        );
        assert_eq!(
            misfits("{ mechanism: oauthbearer, token_file: a, scope: b }", true),
            ["scope: says nothing with `token_file`; leave it out"]
        );
        assert_eq!(
            misfits("{ mechanism: scram_sha256, username: a }", true),
            [": `mechanism: scram_sha256` lacks `password`; `username` and `password`"]
        );
    }

    #[test]
    fn no_secret_goes_over_an_open_connection() {
        assert_eq!(
            misfits("{ mechanism: oauthbearer, token_file: a }", false),
            [": would send the token as it is over an open connection; add `tls: {}`"]
        );
        let open = "{ mechanism: scram_sha512, username: a, password: b }";
        assert_eq!(misfits(open, false), Vec::<String>::new());
        for url in [
            "http://idp/token",
            "idp",
            "https:///token",
            "ftp://localhost",
            "http://localhost.evil/",
        ] {
            assert!(!hides_what_is_sent(url), "{url}");
        }
        assert!(hides_what_is_sent("http://[::1]:8080/token"));
    }
}
