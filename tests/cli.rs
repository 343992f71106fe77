//! The command line, as the pages in tests/cli show it.

/// Every example of the pages runs and prints what the page shows.
#[test]
fn documented_examples() {
    trycmd::TestCases::new()
        .env("STANDIN_HOST", "node2")
        .env("STANDIN_CONFIG_DIR", ".")
        .env("STANDIN_STATE_DIR", "state")
        .env("STANDIN_RUN_DIR", "run")
        .env("COLUMNS", "100")
        .case("tests/cli/*.md");
}
