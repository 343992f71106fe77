//! Ten thousand tables in all of a server's engines, and what is known of each because it was made here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::names::{ODD_SCHEMA, odd, quoted};
use crate::server::{LINKED, Product, Server};

/// What the corpus is made up to.
const TABLES: usize = 10_000;
/// In each of the large tables.
const ROWS: u32 = 20_000;
const WRITERS: usize = 3;
/// MySQL has no schema that is a link, and does without the last.
const SCHEMAS: [&str; 3] = ["shop", ODD_SCHEMA, LINKED];

/// Where a table's rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Home {
    /// In files of its own in the schema's directory.
    Files,
    /// In the system tablespace.
    System,
    /// In a general tablespace.
    General,
    /// In a file of its own outside the data directory, which no link leads to.
    Outside,
    /// It has none, or none that outlives the server.
    Nowhere,
}

#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) schema: &'static str,
    pub(crate) name: String,
    /// As the audit names it.
    pub(crate) engine: &'static str,
    pub(crate) crash_safe: bool,
    pub(crate) home: Home,
    pub(crate) rows: u32,
}

impl Table {
    pub(crate) fn quoted(&self) -> String {
        format!("{}.{}", quoted(self.schema), quoted(&self.name))
    }

    /// Whether it may hold rows that a crash may damage.
    pub(crate) fn is_fragile(&self) -> bool {
        !self.crash_safe && self.home != Home::Nowhere
    }

    pub(crate) fn key(&self) -> (String, String) {
        (self.schema.to_owned(), self.name.clone())
    }
}

/// One way to make a table.
struct Kind {
    name: &'static str,
    engine: &'static str,
    crash_safe: bool,
    home: Home,
    /// Of the 10 000; the first kind fills up what is left.
    tables: usize,
    /// What follows the table's name; `OUT` is the directory outside.
    definition: &'static str,
}

const fn kind(
    name: &'static str,
    engine: &'static str,
    home: Home,
    tables: usize,
    definition: &'static str,
) -> Kind {
    Kind { name, engine, crash_safe: true, home, tables, definition }
}

const fn fragile(name: &'static str, engine: &'static str, tables: usize, definition: &'static str) -> Kind {
    Kind { name, engine, crash_safe: false, home: Home::Files, tables, definition }
}

/// Tables of this kind are the only ones that the statement of the audit does not convert in strict mode.
pub(crate) const INDEX_ELSEWHERE: &str = "index elsewhere";

/// Places in [`BOTH`].
const INNODB: usize = 0;
const MYISAM: usize = 1;

const BOTH: &[Kind] = &[
    kind(
        "innodb",
        "InnoDB",
        Home::Files,
        0,
        "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL, KEY (a)) ENGINE=InnoDB",
    ),
    fragile("myisam", "MyISAM", 2900, "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL, KEY (a)) ENGINE=MyISAM"),
    kind(
        "compressed",
        "InnoDB",
        Home::Files,
        40,
        "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL) ENGINE=InnoDB ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=4",
    ),
    kind(
        "parted",
        "InnoDB",
        Home::Files,
        40,
        "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL) ENGINE=InnoDB PARTITION BY HASH (id) PARTITIONS 4",
    ),
    kind(
        "parted twice",
        "InnoDB",
        Home::Files,
        20,
        "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL) ENGINE=InnoDB PARTITION BY RANGE (id) \
         SUBPARTITION BY HASH (id) SUBPARTITIONS 2 \
         (PARTITION `low #P#` VALUES LESS THAN (100), PARTITION `hïgh` VALUES LESS THAN MAXVALUE)",
    ),
    fragile(
        "fixed",
        "MyISAM",
        40,
        "(id INT PRIMARY KEY, a CHAR(200) NOT NULL) ENGINE=MyISAM ROW_FORMAT=FIXED",
    ),
    fragile(
        "distant",
        "MyISAM",
        10,
        "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL) ENGINE=MyISAM DATA DIRECTORY='OUT'",
    ),
    fragile(
        INDEX_ELSEWHERE,
        "MyISAM",
        10,
        "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL) ENGINE=MyISAM DATA DIRECTORY='OUT' INDEX DIRECTORY='OUT'",
    ),
    fragile("csv", "CSV", 300, "(id INT NOT NULL, a VARCHAR(200) NOT NULL) ENGINE=CSV"),
    fragile("archive", "ARCHIVE", 300, "(id INT NOT NULL, a VARCHAR(200) NOT NULL) ENGINE=ARCHIVE"),
    Kind {
        name: "merge",
        engine: "MERGE",
        crash_safe: false,
        home: Home::Nowhere,
        tables: 20,
        definition: "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL, KEY (a)) ENGINE=MERGE UNION=(shop.part1, shop.part2)",
    },
    Kind {
        name: "memory",
        engine: "MEMORY",
        crash_safe: false,
        home: Home::Nowhere,
        tables: 20,
        definition: "(id INT NOT NULL, a VARCHAR(200) NOT NULL) ENGINE=MEMORY",
    },
    Kind {
        name: "blackhole",
        engine: "other",
        crash_safe: true,
        home: Home::Nowhere,
        tables: 20,
        definition: "(id INT NOT NULL, a VARCHAR(200) NOT NULL) ENGINE=BLACKHOLE",
    },
];

const MARIADB: &[Kind] = &[
    kind(
        "aria",
        "Aria",
        Home::Files,
        1000,
        "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL) ENGINE=Aria TRANSACTIONAL=1",
    ),
    kind(
        "aria parted",
        "Aria",
        Home::Files,
        20,
        "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL) ENGINE=Aria TRANSACTIONAL=1 \
         PARTITION BY HASH (id) PARTITIONS 3",
    ),
    fragile(
        "aria unlogged",
        "Aria",
        400,
        "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL) ENGINE=Aria TRANSACTIONAL=0",
    ),
    // The format decides: only pages are logged.
    fragile(
        "aria dynamic",
        "Aria",
        20,
        "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL) ENGINE=Aria ROW_FORMAT=DYNAMIC",
    ),
    fragile(
        "myisam parted",
        "MyISAM",
        40,
        "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL) ENGINE=MyISAM PARTITION BY HASH (id) PARTITIONS 4",
    ),
    kind(
        "linked",
        "InnoDB",
        Home::Files,
        10,
        "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL) ENGINE=InnoDB DATA DIRECTORY='OUT'",
    ),
];

const MYSQL: &[Kind] = &[
    kind(
        "general",
        "InnoDB",
        Home::General,
        30,
        "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL) ENGINE=InnoDB TABLESPACE general1",
    ),
    kind(
        "linked",
        "InnoDB",
        Home::Outside,
        10,
        "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL) ENGINE=InnoDB DATA DIRECTORY='OUT'",
    ),
];

/// Made while `innodb_file_per_table` is off.
const SHARED: Kind = kind(
    "shared",
    "InnoDB",
    Home::System,
    200,
    "(id INT PRIMARY KEY, a VARCHAR(200) NOT NULL) ENGINE=InnoDB",
);

/// All base tables of the users.
pub(crate) struct Corpus {
    pub(crate) tables: Vec<Table>,
}

impl Corpus {
    /// Makes it on a server that has just been installed and started.
    pub(crate) fn make(server: &Server) -> Self {
        let (more, schemas) = match server.product {
            Product::MariaDb => (MARIADB, &SCHEMAS[..]),
            Product::MySql => (MYSQL, &SCHEMAS[..2]),
        };
        prepare(server, schemas);

        let mut made: Vec<(Table, String)> = Vec::new();
        let mut make = |kind: &Kind, schema, name, rows| made.push(kind.table(server, schema, name, rows));
        make(&BOTH[0], SCHEMAS[0], "filler".to_owned(), ROWS);
        for name in odd() {
            for (kind, schema) in [(INNODB, ODD_SCHEMA), (MYISAM, SCHEMAS[0])] {
                make(&BOTH[kind], schema, name.clone(), 1);
            }
        }
        make(&BOTH[MYISAM], SCHEMAS[0], "part1".to_owned(), 3);
        make(&BOTH[MYISAM], SCHEMAS[0], "part2".to_owned(), 0);
        for kind in BOTH.iter().chain(more).chain([&SHARED]).skip(1) {
            for number in 0..kind.tables {
                let schema = schemas[number % schemas.len()];
                make(kind, schema, format!("{}{number}", kind.name), kind.rows(number));
            }
        }
        for number in 0..TABLES - made.len() {
            let schema = schemas[number % schemas.len()];
            let table = BOTH[INNODB].table(server, schema, format!("innodb{number}"), BOTH[0].rows(number));
            made.push(table);
        }

        // A MERGE table needs its parts, and the tables of the system tablespace a setting for all.
        let (shared, own): (Vec<_>, Vec<_>) = made.iter().partition(|(table, _)| table.home == Home::System);
        let (merge, own): (Vec<_>, Vec<_>) = own.into_iter().partition(|(table, _)| table.engine == "MERGE");
        create(server, &own);
        create(server, &merge);
        server.run(["SET GLOBAL innodb_file_per_table = OFF"]);
        create(server, &shared);
        server.run(["SET GLOBAL innodb_file_per_table = ON"]);

        let tables: Vec<Table> = made.into_iter().map(|(table, _)| table).collect();
        fill(server, &tables);
        add_what_is_no_table(server);
        // Sizes and states that are only in memory go to the files.
        server.run(["FLUSH TABLES"]);
        Self { tables }
    }

    /// By the audit's name of the engine, and whether it is crash-safe.
    pub(crate) fn by_engine(&self) -> BTreeMap<(String, bool), Vec<&Table>> {
        let mut engines = BTreeMap::<_, Vec<_>>::new();
        for table in &self.tables {
            engines.entry((table.engine.to_owned(), table.crash_safe)).or_default().push(table);
        }
        engines
    }

    pub(crate) fn schemas(&self) -> BTreeSet<&str> {
        self.tables.iter().map(|table| table.schema).collect()
    }
}

fn prepare(server: &Server, schemas: &[&str]) {
    for schema in schemas.iter().filter(|schema| **schema != LINKED) {
        server.run([format!("CREATE DATABASE {}", quoted(schema))]);
    }
    if server.product == Product::MySql {
        server.run(["CREATE TABLESPACE general1 ADD DATAFILE 'general1.ibd'"]);
    }
}

impl Kind {
    fn rows(&self, number: usize) -> u32 {
        match number {
            _ if self.home == Home::Nowhere => 0,
            0 | 4 => ROWS,
            _ if number % 3 == 1 => 3,
            _ => 0,
        }
    }

    /// A table and the statement that makes it.
    fn table(&self, server: &Server, schema: &'static str, name: String, rows: u32) -> (Table, String) {
        let Kind { engine, crash_safe, home, .. } = *self;
        let table = Table { schema, name, engine, crash_safe, home, rows };
        let mut directory = server.outside();
        // MyISAM's links lead to files of the table's name, and tables of several schemas may share one.
        directory.push(if schema == ODD_SCHEMA { "odd" } else { schema });
        fs::create_dir_all(&directory).unwrap();
        let definition = self.definition.replace("OUT", &directory.display().to_string());
        let statement = format!("CREATE TABLE {} {definition}", table.quoted());
        (table, statement)
    }
}

/// Over a few connections, because each waits for the server most of the time.
fn create(server: &Server, tables: &[&(Table, String)]) {
    std::thread::scope(|scope| {
        for part in tables.chunks(tables.len().div_ceil(WRITERS)) {
            scope.spawn(move || server.run(part.iter().map(|(_, statement)| statement)));
        }
    });
}

fn fill(server: &Server, tables: &[Table]) {
    let rows: Vec<String> = (0..ROWS).map(|id| format!("({id}, 'filler')")).collect();
    server.run([format!("INSERT INTO shop.filler VALUES {}", rows.join(","))]);
    server.run(tables.iter().skip(1).filter(|table| table.rows > 0).map(|table| {
        format!(
            "INSERT INTO {} SELECT id, REPEAT(CHAR(65 + id % 26), 150) FROM shop.filler WHERE id < {}",
            table.quoted(),
            table.rows
        )
    }));
}

/// What is beside the tables in a data directory, and must not be taken for one.
fn add_what_is_no_table(server: &Server) {
    server
        .run((0..100).map(|number| format!("CREATE VIEW shop.`view {number}` AS SELECT * FROM shop.filler")));
    server.run([
        "CREATE TRIGGER shop.change BEFORE INSERT ON shop.innodb0 FOR EACH ROW SET NEW.a = 'x'",
        "CREATE PROCEDURE shop.work() SELECT 1",
    ]);
    if server.product == Product::MariaDb {
        server.run(["CREATE SEQUENCE shop.`a sequence`", "CREATE SEQUENCE shop.another ENGINE=MyISAM"]);
    }
    let datadir = server.datadir();
    fs::create_dir(datadir.join("lost+found")).unwrap();
    fs::write(datadir.join("shop/notes.txt"), "not a table").unwrap();
    // What an ALTER TABLE leaves that a crash interrupted.
    for extension in ["frm", "MYD", "MYI"] {
        let from = datadir.join(format!("shop/part1.{extension}"));
        if from.exists() {
            fs::copy(from, datadir.join(format!("shop/#sql-alter-1f-3.{extension}"))).unwrap();
        }
    }
}
