//! Identifiers that cross an interface, each a type of its own.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}: expected {digits} lower-case hexadecimal digits")]
pub struct IdError {
    text: String,
    what: &'static str,
    digits: usize,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $digits:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Number of hexadecimal digits.
            pub const DIGITS: usize = $digits;

            /// The identifier made of these random bytes.
            pub fn from_bytes(bytes: [u8; $digits / 2]) -> Self {
                Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
            }

            /// The whole identifier.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The first twelve digits, as people see it.
            pub fn short(&self) -> &str {
                &self.0[..12]
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                if text.len() == $digits && text.bytes().all(hex) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(IdError { text: text.chars().take(80).collect(), what: $what, digits: $digits })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.short())
            }
        }
    };
}

hex_id!(
    /// A container: 64 digits, as in Docker.
    ContainerId,
    64,
    "a container id"
);
hex_id!(
    /// A process started in a running container by `exec`.
    ExecId,
    64,
    "an exec id"
);
hex_id!(
    /// A virtual machine: 16 digits, because it names a socket whose whole path must stay under 104 bytes.
    VmId,
    16,
    "a VM id"
);

/// A vsock port (virtio 1.2 §5.10) on the host's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Port(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_refuse_what_is_not_hexadecimal() {
        let id = VmId::from_bytes([0xab; 8]);
        assert_eq!(id.as_str(), "abababababababab");
        assert_eq!(id.short(), "abababababab");
        assert_eq!("abababababababab".parse(), Ok(id));
        for bad in ["", "ab", "ABABABABABABABAB", "../../../../etc/p", "ababababababababab"] {
            assert!(bad.parse::<VmId>().is_err(), "{bad}");
            assert!(serde_json::from_value::<VmId>(bad.into()).is_err(), "{bad}");
        }
    }
}
