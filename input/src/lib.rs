//! Reads what users write.
//!
//! Every configuration in Banksia is TOML. [`Source`] keeps a file's name and text together, so that any later check,
//! however far from the parser, can still say which file, line and key is at fault and what would be right. The result is
//! an [`InputError`], which the command line prints as it is and turns into exit code 2.
//!
//! ```
//! use banksia_input::Source;
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Memory { channels: u32 }
//!
//! let source = Source::from_text("memory.toml", "channels = 0\n");
//! let memory: Memory = source.parse().unwrap();
//! let error = source.check("channels", memory.channels, 1..=1024).unwrap_err();
//! assert_eq!(error.to_string(), "memory.toml:1: `channels` is 0: must be from 1 to 1024");
//! ```

mod error;
mod locate;
pub mod schema;
mod source;

pub use error::InputError;
pub use source::Source;
