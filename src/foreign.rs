//! Parsers of files and listings that other programs own. Pure: text in, values with their places out. None of them
//! panics on any input.

pub mod drbd_conf;
