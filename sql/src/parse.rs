//! From a text to statements: [`parse`].
//!
//! Owns the limits on a text and the order of refusals: size, tokens, shape, then each statement's grammar. Nothing is
//! resolved here; a parsed [`Statement`] is bound as often as the catalog changes.

use crate::diag::{Diag, Span, SqlState};
use crate::grammar;
use crate::lexer;
use crate::session::{Parameter, SessionStatement};
use crate::statement::{AlterAction, Show, Stmt};

/// One parsed statement; nothing is resolved yet.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its place in the whole text, without the `;`.
    pub text_span: Span,
    pub(crate) stmt: Stmt,
}

impl Statement {
    /// What kind of statement it is, in capitals: `SELECT`, `CREATE TABLE` ...
    #[must_use]
    pub fn keyword(&self) -> &'static str {
        keyword(&self.stmt)
    }

    /// What it says about the conversation itself, if that is what it is about: transactions, savepoints, session parameters.
    #[must_use]
    pub fn session(&self) -> Option<SessionStatement> {
        match &self.stmt {
            Stmt::Session(statement) => Some(statement.clone()),
            Stmt::Show(Show::Setting { name }) => Parameter::by_name(&name.value).map(SessionStatement::Show),
            _ => None,
        }
    }

    /// The setting of the server that SHOW names.
    #[must_use]
    pub fn setting(&self) -> Option<(&str, Span)> {
        match &self.stmt {
            Stmt::Show(Show::Setting { name }) => Some((&name.value, name.span)),
            _ => None,
        }
    }

    /// The user that EXECUTE AS names.
    #[must_use]
    pub fn acts_as(&self) -> Option<&str> {
        match &self.stmt {
            Stmt::ExecuteAs { user, .. } => Some(&user.value),
            _ => None,
        }
    }

    /// An error of running it, with its place: what is there already is so under the name that the statement gives.
    #[must_use]
    pub fn placed(&self, diag: Diag) -> Diag {
        let is_duplicate = matches!(
            diag.sqlstate,
            SqlState::DUPLICATE_TABLE | SqlState::DUPLICATE_NAMESPACE | SqlState::DUPLICATE_OBJECT
        );
        match given_name(&self.stmt).filter(|_| is_duplicate) {
            Some(span) => diag.at(span),
            None => diag,
        }
    }

    /// Whether it only reads (SELECT, SHOW, DESCRIBE).
    #[must_use]
    pub fn is_query(&self) -> bool {
        match &self.stmt {
            Stmt::ExecuteAs { inner, .. } => matches!(**inner, Stmt::Query(_)),
            stmt => matches!(stmt, Stmt::Query(_) | Stmt::Show(_) | Stmt::Explain { .. }),
        }
    }
}

/// Where a definition names what it makes, or what it renames something to.
fn given_name(stmt: &Stmt) -> Option<Span> {
    match stmt {
        Stmt::CreateNamespace { name, .. } => Some(name.span),
        Stmt::CreateTable(create) => Some(create.name.span()),
        Stmt::CreateTableAs(create) => Some(create.table.name.span()),
        Stmt::CreateIndex(create) => create.name.as_ref().map(|name| name.span),
        Stmt::CreateTopic { name, .. } => Some(name.span()),
        Stmt::CreateUser(create) => Some(create.name.span),
        Stmt::AlterTable(alter) => alter.actions.iter().find_map(|action| match action {
            AlterAction::RenameTable { to } => Some(to.span),
            _ => None,
        }),
        _ => None,
    }
}

fn keyword(stmt: &Stmt) -> &'static str {
    match stmt {
        Stmt::CreateNamespace { .. } => "CREATE NAMESPACE",
        Stmt::DropNamespace { .. } => "DROP NAMESPACE",
        Stmt::CreateTable(_) | Stmt::CreateTableAs(_) => "CREATE TABLE",
        Stmt::DropTable { .. } => "DROP TABLE",
        Stmt::AlterTable(_) => "ALTER TABLE",
        Stmt::CommentOnTable { .. } => "COMMENT",
        Stmt::CreateIndex(_) => "CREATE INDEX",
        Stmt::DropIndex { .. } => "DROP INDEX",
        Stmt::Query(_) => "SELECT",
        Stmt::Explain { .. } => "EXPLAIN",
        Stmt::Insert(_) => "INSERT",
        Stmt::Update(_) => "UPDATE",
        Stmt::Delete(_) => "DELETE",
        Stmt::Truncate(_) => "TRUNCATE",
        Stmt::ExecuteAs { inner, .. } | Stmt::With { inner, .. } => keyword(inner),
        Stmt::CreateUser(_) => "CREATE USER",
        Stmt::AlterUser { .. } => "ALTER USER",
        Stmt::DropUser { .. } => "DROP USER",
        Stmt::CreateTopic { .. } => "CREATE TOPIC",
        Stmt::AddSource(_) | Stmt::DropSource { .. } => "ALTER TOPIC",
        Stmt::Consume(_) => "CONSUME",
        Stmt::Ack { .. } => "ACK",
        Stmt::ClearTopic { .. } => "CLEAR TOPIC",
        Stmt::DropTopic { .. } => "DROP TOPIC",
        Stmt::Show(Show::Columns { .. }) => "DESCRIBE",
        Stmt::Show(Show::Nodes | Show::Groups) | Stmt::Cluster(_) => "CLUSTER",
        Stmt::Show(_) => "SHOW",
        Stmt::Session(statement) => statement.tag(),
    }
}

/// Splits the text at top-level `;` and parses each statement. A text without statements gives an empty list.
///
/// # Errors
/// 42601 where the grammar ends, 54000 beyond a limit of [`crate::limits`], 0A000 for what is known and not supported, 42602
/// for a name that is too long, 22021 for a NUL. The span counts characters of the whole text.
pub fn parse(sql: &str) -> Result<Vec<Statement>, Diag> {
    let lexed = lexer::lex(sql)?;
    if let Some(byte) = sql.find('\0') {
        let at = u32::try_from(sql.get(..byte).unwrap_or_default().chars().count()).unwrap_or(u32::MAX);
        return Err(
            Diag::new(SqlState::INVALID_ENCODING, "the text holds a NUL character").at(Span { start: at, end: at + 1 })
        );
    }
    let mut statements = Vec::new();
    for (start, end) in lexer::split(&lexed)? {
        let stmt = grammar::statement(&lexed, start, end)?;
        statements.push(Statement { text_span: lexed.span_of(start, end), stmt });
    }
    Ok(statements)
}
