//! Statements as the grammar gives them: our own enum around sqlparser's trees. Nothing is resolved.

use sqlparser::ast;

use crate::catalog::{Operation, Role, TableKind};
use crate::diag::Span;
use crate::session::SessionStatement;

/// A name with its place; folded to lower case unless it was quoted.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) value: String,
    pub(crate) span: Span,
}

/// `[namespace.]name`.
#[derive(Clone, Debug)]
pub(crate) struct ObjectName {
    pub(crate) namespace: Option<Name>,
    pub(crate) name: Name,
}

impl ObjectName {
    /// The whole name's place.
    pub(crate) fn span(&self) -> Span {
        Span {
            start: self.namespace.as_ref().map_or(self.name.span.start, |namespace| namespace.span.start),
            end: self.name.span.end,
        }
    }
}

/// An expression with its text.
#[derive(Clone, Debug)]
pub(crate) struct Fragment {
    pub(crate) expr: Box<ast::Expr>,
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// The value of an option in WITH.
#[derive(Clone, Debug)]
pub(crate) enum OptionValue {
    Text(String),
    Number(String),
    Word(String),
}

impl OptionValue {
    /// The value as it would be written in a text.
    pub(crate) fn as_text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(text) | Self::Word(text) => text,
        }
    }
}

/// `name = value` in WITH.
#[derive(Clone, Debug)]
pub(crate) struct WithOption {
    /// In lower case.
    pub(crate) name: Name,
    pub(crate) value: OptionValue,
    pub(crate) span: Span,
}

/// One parsed statement.
#[derive(Clone, Debug)]
pub(crate) enum Stmt {
    CreateNamespace {
        name: Name,
        if_not_exists: bool,
    },
    DropNamespace {
        name: Name,
        if_exists: bool,
        cascade: bool,
    },
    CreateTable(Box<CreateTable>),
    CreateTableAs(Box<CreateTableAs>),
    DropTable {
        name: ObjectName,
        if_exists: bool,
    },
    AlterTable(Box<AlterTable>),
    CommentOnTable {
        name: ObjectName,
        comment: Option<String>,
    },
    CreateIndex(Box<CreateIndex>),
    DropIndex {
        name: ObjectName,
        if_exists: bool,
    },
    Query(Box<ast::Query>),
    Explain {
        analyze: bool,
        json: bool,
        inner: Box<Stmt>,
        span: Span,
    },
    Insert(Box<ast::Insert>),
    Update(Box<ast::Update>),
    Delete(Box<ast::Delete>),
    Truncate(ObjectName),
    ExecuteAs {
        user: Name,
        inner: Box<Stmt>,
    },
    /// `WITH ...` before an INSERT, UPDATE or DELETE.
    With {
        with: Box<ast::With>,
        inner: Box<Stmt>,
    },
    CreateUser(CreateUser),
    AlterUser {
        name: Name,
        change: AlterUser,
    },
    DropUser {
        name: Name,
        if_exists: bool,
    },
    CreateTopic {
        name: ObjectName,
        if_not_exists: bool,
        partitions: Option<(u64, Span)>,
        options: Vec<WithOption>,
    },
    AddSource(Box<AddSource>),
    DropSource {
        topic: ObjectName,
        table: ObjectName,
        operation: Option<Operation>,
    },
    Consume(Box<Consume>),
    Ack {
        topic: ObjectName,
        group: Name,
        partition: Option<(u64, Span)>,
        upto: Fragment,
    },
    ClearTopic {
        name: ObjectName,
    },
    DropTopic {
        name: ObjectName,
        if_exists: bool,
    },
    Show(Show),
    Cluster(Cluster),
    Session(SessionStatement),
}

/// CREATE TABLE.
#[derive(Clone, Debug)]
pub(crate) struct CreateTable {
    pub(crate) kind: Option<(TableKind, Span)>,
    pub(crate) if_not_exists: bool,
    pub(crate) name: ObjectName,
    pub(crate) elements: Vec<TableElement>,
    pub(crate) elements_span: Span,
    pub(crate) partition_by: Option<Vec<Name>>,
    pub(crate) options: Vec<WithOption>,
}

/// CREATE TABLE ... AS.
#[derive(Clone, Debug)]
pub(crate) struct CreateTableAs {
    /// What stands around the columns; it has no elements.
    pub(crate) table: CreateTable,
    /// Names of the columns, if they are given.
    pub(crate) columns: Vec<Name>,
    pub(crate) key: Option<Vec<Name>>,
    pub(crate) query: Box<ast::Query>,
    pub(crate) with_data: bool,
}

/// What stands between the parentheses of CREATE TABLE.
#[derive(Clone, Debug)]
pub(crate) enum TableElement {
    Column(ColumnSpec),
    PrimaryKey { columns: Vec<Name>, span: Span },
    Unique { name: Option<Name>, columns: Vec<Name>, span: Span },
    Check { name: Option<Name>, condition: Fragment },
}

/// A column definition.
#[derive(Clone, Debug)]
pub(crate) struct ColumnSpec {
    pub(crate) name: Name,
    pub(crate) data_type: ast::DataType,
    pub(crate) type_span: Span,
    pub(crate) constraints: Vec<ColumnConstraint>,
}

/// A constraint behind a column's type.
#[derive(Clone, Debug)]
pub(crate) enum ColumnConstraint {
    NotNull(Span),
    Null(Span),
    PrimaryKey(Span),
    Unique { name: Option<Name>, span: Span },
    Default(Fragment),
    Check { name: Option<Name>, condition: Fragment },
}

/// ALTER TABLE with its one change.
#[derive(Clone, Debug)]
pub(crate) struct AlterTable {
    pub(crate) name: ObjectName,
    /// In order; at least one.
    pub(crate) actions: Vec<AlterAction>,
}

/// What ALTER TABLE changes.
#[derive(Clone, Debug)]
pub(crate) enum AlterAction {
    AddColumn { column: ColumnSpec, if_not_exists: bool },
    AddConstraint(TableElement),
    DropColumn { column: Name, if_exists: bool },
    DropConstraint { name: Name, if_exists: bool },
    RenameColumn { column: Name, to: Name },
    RenameTable { to: Name },
    SetDefault { column: Name, default: Fragment },
    DropDefault { column: Name },
    SetNotNull { column: Name },
    DropNotNull { column: Name },
    SetType { column: Name, data_type: ast::DataType, type_span: Span },
    SetOptions(Vec<WithOption>),
}

/// CREATE INDEX.
#[derive(Clone, Debug)]
pub(crate) struct CreateIndex {
    pub(crate) unique: bool,
    pub(crate) if_not_exists: bool,
    pub(crate) name: Option<Name>,
    pub(crate) table: ObjectName,
    pub(crate) columns: Vec<IndexPart>,
}

/// A column of CREATE INDEX.
#[derive(Clone, Debug)]
pub(crate) struct IndexPart {
    pub(crate) column: Name,
    pub(crate) descending: bool,
}

/// CREATE USER.
#[derive(Clone, Debug)]
pub(crate) struct CreateUser {
    pub(crate) name: Name,
    pub(crate) if_not_exists: bool,
    pub(crate) password: Option<String>,
    pub(crate) role: Option<Role>,
    pub(crate) email: Option<String>,
}

/// The one change of ALTER USER.
#[derive(Clone, Debug)]
pub(crate) enum AlterUser {
    Password(String),
    Role(Role),
    Email(String),
}

/// ALTER TOPIC ... ADD SOURCE.
#[derive(Clone, Debug)]
pub(crate) struct AddSource {
    pub(crate) topic: ObjectName,
    pub(crate) table: ObjectName,
    pub(crate) operation: Operation,
    pub(crate) filter: Option<Fragment>,
    pub(crate) partition_by: Option<Fragment>,
    pub(crate) options: Vec<WithOption>,
}

/// CONSUME.
#[derive(Clone, Debug)]
pub(crate) struct Consume {
    pub(crate) topic: ObjectName,
    pub(crate) partition: Option<(u64, Span)>,
    pub(crate) group: Option<Name>,
    pub(crate) start: Option<Start>,
    pub(crate) limit: Option<Fragment>,
    pub(crate) options: Vec<WithOption>,
}

/// FROM in CONSUME.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    Latest,
    Earliest,
    Offset(u64),
}

/// SHOW and DESCRIBE.
#[derive(Clone, Debug)]
pub(crate) enum Show {
    Namespaces,
    Tables {
        namespace: Option<Name>,
    },
    Indexes {
        table: Option<ObjectName>,
    },
    Columns {
        table: ObjectName,
    },
    CreateTable {
        table: ObjectName,
    },
    Topics,
    Users,
    Jobs,
    Settings,
    Setting {
        name: Name,
    },
    /// CLUSTER LIST.
    Nodes,
    /// CLUSTER LIST GROUPS.
    Groups,
}

/// What CLUSTER changes; numbers with their places.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cluster {
    TransferLeader { group: (u64, Span), node: (u64, Span) },
    MoveShard { group: (u64, Span), node: (u64, Span) },
    Join { node: (u64, Span) },
    Leave { node: (u64, Span) },
    Rebalance,
}
