//! `\h`: how statements are written, in short. The book's page on SQL has the rest.

/// A statement's forms.
pub(crate) struct Entry {
    /// Its first words, in capitals.
    pub(crate) name: &'static str,
    /// How it is written, and an example.
    text: &'static str,
}

/// Every statement, sorted by name.
pub(crate) const STATEMENTS: &[Entry] = &[
    Entry {
        name: "ACK",
        text: "ACK topic GROUP 'group' [PARTITION n] UPTO OFFSET n\n\nACK app.events GROUP 'mailer' PARTITION 0 UPTO OFFSET 41;",
    },
    Entry {
        name: "ALTER TABLE",
        text: "ALTER TABLE table ADD [COLUMN] column type [DEFAULT value] | DROP [COLUMN] column | RENAME COLUMN a TO b\n  | ALTER COLUMN column SET DEFAULT value | DROP DEFAULT | SET NOT NULL | DROP NOT NULL | ...\n\nALTER TABLE app.messages ADD COLUMN likes INT DEFAULT 0;",
    },
    Entry {
        name: "ALTER TOPIC",
        text: "ALTER TOPIC topic ADD SOURCE table ON INSERT|UPDATE|DELETE [WHERE condition] [PARTITION BY expression]\n    [WITH (payload = 'key'|'full'|'diff')]\nALTER TOPIC topic DROP SOURCE table [ON INSERT|UPDATE|DELETE]\n\nALTER TOPIC app.events ADD SOURCE app.messages ON INSERT WITH (payload = 'full');",
    },
    Entry {
        name: "ALTER USER",
        text: "ALTER USER name SET PASSWORD 'text' | SET ROLE user|service|dba|system | SET EMAIL 'text'\n\n\\password ann changes a password without showing it.",
    },
    Entry {
        name: "BEGIN",
        text: "BEGIN [READ ONLY]\nCOMMIT | ROLLBACK\nSAVEPOINT name | ROLLBACK TO name | RELEASE name\n\nA transaction stays on one shard. The prompt shows * while one is open. 40001: run it again from BEGIN on.",
    },
    Entry { name: "CLEAR TOPIC", text: "CLEAR TOPIC topic\n\nRemoves the topic's messages." },
    Entry {
        name: "CLUSTER",
        text: "CLUSTER LIST [GROUPS] | TRANSFER LEADER group TO node | MOVE SHARD group TO node | REBALANCE\n  | LEAVE node | JOIN node",
    },
    Entry {
        name: "CONSUME",
        text: "CONSUME FROM topic [PARTITION n] [GROUP 'group'] [FROM EARLIEST|LATEST|OFFSET n] [LIMIT n]\n    [WITH (ack = 'auto'|'manual', timeout = '5s')]\n\nCONSUME FROM app.events GROUP 'mailer' FROM EARLIEST LIMIT 10;\n\\consume app.events mailer prints messages until Ctrl-C.",
    },
    Entry {
        name: "CREATE INDEX",
        text: "CREATE [UNIQUE] INDEX [IF NOT EXISTS] name ON table (columns)\n\nCREATE INDEX by_room ON app.messages (room);",
    },
    Entry { name: "CREATE NAMESPACE", text: "CREATE NAMESPACE [IF NOT EXISTS] name\n\nCREATE NAMESPACE app;" },
    Entry {
        name: "CREATE TABLE",
        text: "CREATE [USER | SHARED | STREAM] TABLE [IF NOT EXISTS] [namespace.]name (\n    column type [PRIMARY KEY] [NOT NULL] [DEFAULT value] [CHECK (condition)], ...\n    [, PRIMARY KEY (columns)] [, CONSTRAINT name CHECK (condition)]\n) [PARTITION BY (columns)] [WITH (ACCESS_LEVEL = 'PUBLIC'|'PRIVATE'|'RESTRICTED'|'DBA', TTL_SECONDS = n)]\n\nCREATE USER TABLE app.notes (id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), body TEXT NOT NULL);\n\nUSER: each user sees its own rows. SHARED: everyone's. STREAM: each user's own events, dropped after TTL_SECONDS.\n\nCREATE TABLE name [(columns)] [PRIMARY KEY (columns)] [PARTITION BY (columns)] [WITH (...)] AS query [WITH [NO] DATA]\ncopies the rows of a query.",
    },
    Entry {
        name: "CREATE TOPIC",
        text: "CREATE TOPIC [IF NOT EXISTS] name [PARTITIONS n] [WITH (retention = '7 days', retention_bytes = n)]\n\nCREATE TOPIC app.events PARTITIONS 4;",
    },
    Entry {
        name: "CREATE USER",
        text: "CREATE USER [IF NOT EXISTS] name [WITH] PASSWORD 'text' [ROLE user|service|dba|system] [EMAIL 'text']",
    },
    Entry {
        name: "DELETE",
        text: "DELETE FROM table [USING tables] [WHERE condition]\n\nDELETE FROM app.messages WHERE room = 7;",
    },
    Entry { name: "DESCRIBE", text: "DESCRIBE table\n\n\\d table shows more." },
    Entry {
        name: "DROP",
        text: "DROP TABLE | TOPIC | INDEX | USER [IF EXISTS] name\nDROP NAMESPACE [IF EXISTS] name [CASCADE]",
    },
    Entry {
        name: "EXECUTE AS",
        text: "EXECUTE AS 'user' (SELECT | INSERT | UPDATE | DELETE ...)\n\nEXECUTE AS 'ann' (SELECT * FROM app.notes);   \\as ann SELECT * FROM app.notes",
    },
    Entry { name: "EXPLAIN", text: "EXPLAIN [ANALYZE] statement\n\nANALYZE runs it too." },
    Entry {
        name: "INSERT",
        text: "INSERT INTO table [(columns)] VALUES (values), ... | SELECT ...\n    [ON CONFLICT [(columns)] DO NOTHING | DO UPDATE SET column = value, ...] [RETURNING columns]\n\nINSERT INTO app.messages (room, body) VALUES (7, 'hello');\n\\copy app.messages FROM rows.csv inserts a file.",
    },
    Entry {
        name: "SELECT",
        text: "[WITH [RECURSIVE] name AS (SELECT ...)] SELECT [DISTINCT] columns\n    FROM table [JOIN table ON condition] [WHERE condition]\n    [GROUP BY columns | ROLLUP (columns) | CUBE (columns) | GROUPING SETS (...)] [HAVING condition]\n    [ORDER BY columns [DESC]] [LIMIT n] [OFFSET n]\n\nSELECT room, count(*) AS n FROM app.messages WHERE created_at >= '2026-01-01' GROUP BY room ORDER BY n DESC;",
    },
    Entry {
        name: "SET",
        text: "SET parameter = value | DEFAULT\nRESET parameter\n\nSET read_consistency = 'session';   lasts as long as its text or its transaction",
    },
    Entry {
        name: "SHOW",
        text: "SHOW NAMESPACES | TABLES [IN namespace] | TOPICS | USERS | JOBS | SETTINGS | COLUMNS FROM table\n    | CREATE TABLE table | setting",
    },
    Entry { name: "TRUNCATE", text: "TRUNCATE [TABLE] table\n\nRemoves all rows." },
    Entry {
        name: "UPDATE",
        text: "UPDATE table SET column = value, ... [FROM tables] [WHERE condition] [RETURNING columns]\n\nUPDATE app.messages SET likes = likes + 1 WHERE room = 7 AND id = 3;",
    },
];

/// The help on a statement; the list of statements without one.
pub(crate) fn statement(topic: &str) -> Result<String, String> {
    let topic = topic.trim().to_uppercase();
    if topic.is_empty() {
        let names: Vec<&str> = STATEMENTS.iter().map(|entry| entry.name).collect();
        return Ok(format!("\\h STATEMENT, of: {}", names.join(", ")));
    }
    let found: Vec<&Entry> = STATEMENTS
        .iter()
        .filter(|entry| {
            entry.name == topic
                || entry.name.starts_with(&format!("{topic} "))
                || topic.starts_with(&format!("{} ", entry.name))
        })
        .collect();
    if !found.is_empty() {
        return Ok(found.iter().map(|entry| entry.text).collect::<Vec<_>>().join("\n\n"));
    }
    if let Some(text) = matches!(topic.as_str(), "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE")
        .then(|| STATEMENTS.iter().find(|entry| entry.name == "BEGIN").map(|entry| entry.text.to_owned()))
        .flatten()
    {
        return Ok(text);
    }
    let nearest = STATEMENTS
        .iter()
        .map(|entry| (strsim::damerau_levenshtein(&topic, entry.name), entry.name))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    Err(match nearest {
        Some((_, meant)) => format!("there is no help on {topic}; perhaps you meant {meant}"),
        None => format!("there is no help on {topic}; \\h lists the statements"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn statements_are_found_by_their_first_words() {
        assert!(STATEMENTS.windows(2).all(|pair| pair[0].name < pair[1].name), "sorted");
        assert!(statement("").unwrap().contains("CREATE TOPIC"));
        assert!(statement("create topic").unwrap().contains("PARTITIONS"));
        assert!(statement("create").unwrap().contains("CREATE USER [IF NOT EXISTS]"));
        assert!(statement("drop table").unwrap().contains("DROP TABLE"));
        assert!(statement("rollback").unwrap().contains("SAVEPOINT"));
        assert_eq!(statement("selct").unwrap_err(), "there is no help on SELCT; perhaps you meant SELECT");
        assert!(statement("nonsense").unwrap_err().contains("\\h lists"));
    }

    #[test]
    fn lines_fit_a_terminal() {
        for entry in STATEMENTS {
            assert!(entry.text.lines().all(|line| line.chars().count() <= 118), "{}", entry.name);
        }
    }
}
