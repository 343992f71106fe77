//! Output captured on 8.4.
