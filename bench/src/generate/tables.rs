//! The tables that the statements are about, and their rows.

use highwater_runtime::rng::Rng;

/// What an expression yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    /// Whole numbers.
    Int,
    /// DECIMAL.
    Decimal,
    /// DOUBLE and REAL.
    Double,
    /// TEXT and VARCHAR.
    Text,
    /// BOOLEAN.
    Bool,
    /// TIMESTAMP.
    Time,
    /// DATE.
    Date,
    /// INTERVAL.
    Span,
    /// UUID.
    Uuid,
    /// BYTEA.
    Bytes,
    /// INT[].
    List,
    /// TEXT[].
    Words,
    /// NUMERIC[].
    Sums,
    /// DATE[].
    Days,
}

impl Ty {
    /// All; what most columns hold is there twice.
    pub const ALL: [Self; 20] = [
        Self::Int,
        Self::Int,
        Self::Decimal,
        Self::Decimal,
        Self::Double,
        Self::Double,
        Self::Text,
        Self::Text,
        Self::Bool,
        Self::Bool,
        Self::Time,
        Self::Time,
        Self::Date,
        Self::Span,
        Self::Uuid,
        Self::Bytes,
        Self::List,
        Self::Words,
        Self::Sums,
        Self::Days,
    ];

    /// What the elements of an array yield.
    #[must_use]
    pub fn item(self) -> Option<Self> {
        match self {
            Self::List => Some(Self::Int),
            Self::Words => Some(Self::Text),
            Self::Sums => Some(Self::Decimal),
            Self::Days => Some(Self::Date),
            _ => None,
        }
    }

    /// The name in SQL of an array's elements.
    #[must_use]
    pub fn item_name(self) -> &'static str {
        match self {
            Self::List => "INT",
            Self::Words => "TEXT",
            Self::Sums => "NUMERIC",
            _ => "DATE",
        }
    }
}

/// A column: its name, its type in SQL, what it yields, and whether it takes NULL.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    sql: &'static str,
    /// What it yields.
    pub ty: Ty,
    nullable: bool,
}

/// A table.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns.
    pub columns: &'static [Column],
    /// Key columns, which are the first ones.
    pub key: usize,
    /// Constraints behind the columns.
    constraints: &'static str,
    /// What stands behind the closing parenthesis for Highwater alone.
    options: &'static str,
    /// The first column decides the shard: a statement writes rows of one value of it.
    pub is_spread: bool,
    /// Columns of secondary indexes, which change no answer.
    indexes: &'static [&'static str],
    /// Rows that it is filled with.
    rows: u64,
}

const fn column(name: &'static str, sql: &'static str, ty: Ty, nullable: bool) -> Column {
    Column { name, sql, ty, nullable }
}

/// All tables.
pub const TABLES: [Table; 4] = [
    Table {
        name: "people",
        columns: &[
            column("id", "BIGINT", Ty::Int, false),
            column("k", "INT", Ty::Int, true),
            column("n", "SMALLINT", Ty::Int, false),
            column("d", "DECIMAL(10, 2)", Ty::Decimal, true),
            column("f", "DOUBLE PRECISION", Ty::Double, true),
            column("s", "TEXT", Ty::Text, true),
            column("v", "VARCHAR(8)", Ty::Text, true),
            column("o", "BOOLEAN", Ty::Bool, true),
            column("at", "TIMESTAMP", Ty::Time, true),
        ],
        key: 1,
        constraints: "CHECK (n < 40), CONSTRAINT short CHECK (length(s) < 20)",
        options: "",
        is_spread: false,
        indexes: &["k", "s, n", "at DESC, id", "d"],
        rows: 40,
    },
    Table {
        name: "orders",
        columns: &[
            column("id", "BIGINT", Ty::Int, false),
            column("person", "BIGINT", Ty::Int, true),
            column("k", "INT", Ty::Int, false),
            column("s", "TEXT", Ty::Text, false),
            column("price", "DECIMAL(12, 4)", Ty::Decimal, true),
            column("at", "TIMESTAMP", Ty::Time, false),
        ],
        key: 1,
        constraints: "",
        options: "",
        is_spread: false,
        indexes: &["person", "k, price", "s"],
        rows: 60,
    },
    Table {
        name: "places",
        columns: &[
            column("a", "INT", Ty::Int, false),
            column("c", "TEXT", Ty::Text, false),
            column("x", "DOUBLE PRECISION", Ty::Double, true),
            column("o", "BOOLEAN", Ty::Bool, false),
        ],
        key: 2,
        constraints: "",
        options: " PARTITION BY (a)",
        is_spread: true,
        indexes: &["x", "o, x"],
        rows: 30,
    },
    Table {
        name: "things",
        columns: &[
            column("id", "BIGINT", Ty::Int, false),
            column("day", "DATE", Ty::Date, true),
            column("span", "INTERVAL", Ty::Span, true),
            column("u", "UUID", Ty::Uuid, true),
            column("bin", "BYTEA", Ty::Bytes, true),
            column("list", "INT[]", Ty::List, true),
            column("words", "TEXT[]", Ty::Words, true),
            column("sums", "NUMERIC[]", Ty::Sums, true),
            column("days", "DATE[]", Ty::Days, false),
            column("r", "REAL", Ty::Double, true),
            column("whole", "NUMERIC", Ty::Decimal, true),
        ],
        key: 1,
        constraints: "",
        options: "",
        is_spread: false,
        indexes: &["day", "u, day", "r", "whole, bin"],
        rows: 35,
    },
];

impl Table {
    /// The statement that makes it in Highwater, and in PostgreSQL.
    #[must_use]
    pub fn create(&self) -> (String, String) {
        let mut parts: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("{} {}{}", column.name, column.sql, if column.nullable { "" } else { " NOT NULL" }))
            .collect();
        let key: Vec<&str> = self.columns.iter().take(self.key).map(|column| column.name).collect();
        parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        if !self.constraints.is_empty() {
            parts.push(self.constraints.to_owned());
        }
        let body = format!("CREATE TABLE {} ({})", self.name, parts.join(", "));
        (format!("{body}{}", self.options), body)
    }

    /// Statements that make its indexes, and that drop them.
    #[must_use]
    pub fn index(&self) -> Vec<(String, String)> {
        let statements = |(at, columns): (usize, &&str)| {
            let name = format!("{}_{at}", self.name);
            (format!("CREATE INDEX {name} ON {} ({columns})", self.name), format!("DROP INDEX {name}"))
        };
        self.indexes.iter().enumerate().map(statements).collect()
    }

    /// Statements that fill it.
    #[must_use]
    pub fn fill(&self, rng: &mut Rng) -> Vec<String> {
        let mut rows: Vec<Vec<String>> = Vec::new();
        for number in 0..self.rows {
            let values = self.columns.iter().enumerate().map(|(place, column)| match (place, self.is_spread) {
                (0, false) => number.to_string(),
                (0, true) => (number % 7).to_string(),
                (1, true) => format!("'{}'", number / 7),
                _ => column.value(rng),
            });
            rows.push(values.collect());
        }
        let insert = |rows: &[Vec<String>]| {
            let rows: Vec<String> = rows.iter().map(|row| format!("({})", row.join(", "))).collect();
            format!("INSERT INTO {} VALUES {}", self.name, rows.join(", "))
        };
        if self.is_spread {
            rows.iter().map(|row| insert(std::slice::from_ref(row))).collect()
        } else {
            vec![insert(&rows)]
        }
    }
}

impl Column {
    /// A value that it takes.
    #[must_use]
    pub fn value(&self, rng: &mut Rng) -> String {
        if self.nullable && rng.chance(0.2) { "NULL".to_owned() } else { literal(self.ty, rng) }
    }
}

const TEXTS: [&str; 14] =
    ["", "a", "ab", "abc", "b", "Zebra", "zebra", "x_y", "100%", "O''Hara", "ä", "hello w", " pad ", "-12"];

/// A value written out.
pub fn literal(ty: Ty, rng: &mut Rng) -> String {
    let small = |rng: &mut Rng| i64::try_from(rng.below(24)).unwrap_or(0) - 4;
    match ty {
        Ty::Int => small(rng).to_string(),
        Ty::Decimal => format!("{}.{:02}", small(rng), rng.below(100)),
        // PostgreSQL takes a number with an exponent for a NUMERIC.
        Ty::Double => format!("CAST({}.{} AS DOUBLE PRECISION)", small(rng), rng.below(10)),
        Ty::Text => {
            let place = usize::try_from(rng.below(TEXTS.len() as u64)).unwrap_or(0);
            format!("'{}'", TEXTS.get(place).unwrap_or(&""))
        }
        Ty::Bool => if rng.chance(0.5) { "TRUE" } else { "FALSE" }.to_owned(),
        Ty::Time => format!(
            "TIMESTAMP '2026-0{}-{:02} {:02}:{:02}:00'",
            1 + rng.below(3),
            1 + rng.below(28),
            rng.below(24),
            rng.below(4) * 15
        ),
        Ty::Date => format!("DATE '2026-0{}-{:02}'", 1 + rng.below(3), 1 + rng.below(28)),
        Ty::Span => {
            let (months, days, hours) = (rng.below(3), rng.below(40), rng.below(50));
            format!("INTERVAL '{months} months {days} days {hours} hours'")
        }
        Ty::Uuid => format!("CAST('00000000-0000-7000-8000-00000000000{}' AS UUID)", rng.below(8)),
        Ty::Bytes => format!("CAST('\\x{:02x}{}' AS BYTEA)", rng.below(4), if rng.chance(0.5) { "" } else { "ff00" }),
        Ty::List | Ty::Words | Ty::Sums | Ty::Days => {
            let item = |rng: &mut Rng| match ty {
                Ty::List => rng.below(6).to_string(),
                Ty::Sums => format!("{}.{}", rng.below(3), rng.below(3)),
                Ty::Days => format!("2026-01-0{}", 1 + rng.below(4)),
                // Quoted, or not: the texts of an array have rules of their own.
                _ => ["a", "\"\"", "\"a b\"", "\"x,y\"", "\"NULL\"", " b ", "q\\\"", "ä", "\"{}\""]
                    .get(usize::try_from(rng.below(9)).unwrap_or(0))
                    .map_or_else(String::new, |text| (*text).to_owned()),
            };
            let items: Vec<String> =
                (0..rng.below(4)).map(|_| if rng.chance(0.2) { "NULL".to_owned() } else { item(rng) }).collect();
            format!("CAST('{{{}}}' AS {}[])", items.join(","), ty.item_name())
        }
    }
}
