//! The status page's parameters: `?q=…&show=…&sort=…&order=…&page=…&accounts=…`.

use form_urlencoded::{Serializer, parse};

use crate::findings::Status;

/// The parameters of the status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Words. Every one must be in the key's row, ignoring case.
    pub search: String,
    /// Which keys.
    pub show: KeyFilter,
    /// By which column they are sorted.
    pub sort: Sort,
    /// In which order.
    pub order: Order,
    /// Which page of the keys, from 1.
    pub page: usize,
    /// Which page of the accounts, from 1; `None`: the first, and folded if all are ok.
    pub accounts: Option<usize>,
}

/// Which keys are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFilter {
    /// Older than they may be.
    Unrotated,
    /// To be rotated soon.
    DueSoon,
    /// Of any age, for a time.
    Exempt,
    /// All three.
    All,
}

/// A column that keys can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// How old they are.
    Age,
    /// By when they must be rotated.
    Due,
    /// The user's name.
    User,
    /// The account's name, or its id.
    Account,
    /// When they were last used.
    LastUsed,
}

/// Which way rows are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The least first.
    Ascending,
    /// The most first.
    Descending,
}

/// A parameter is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter} must be {expected}")]
pub struct InvalidQuery {
    parameter: &'static str,
    expected: &'static str,
}

/// The longest search, in characters.
pub const MAX_SEARCH: usize = 200;

impl Default for Query {
    fn default() -> Query {
        Query {
            search: String::new(),
            show: KeyFilter::Unrotated,
            sort: Sort::Age,
            order: Sort::Age.order(),
            page: 1,
            accounts: None,
        }
    }
}

impl Query {
    /// Reads the part of a URL after `?`. An empty parameter counts as missing, an unknown one is
    /// ignored, and if one is given twice the last counts.
    pub fn parse(query: &str) -> Result<Query, InvalidQuery> {
        let (mut asked, mut order) = (Query::default(), None);
        for (name, value) in parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
            match &*name {
                "q" if value.chars().count() <= MAX_SEARCH => {
                    asked.search = value.trim().to_owned()
                }
                "q" => {
                    return Err(InvalidQuery {
                        parameter: "q",
                        expected: "at most 200 characters",
                    });
                }
                "show" => {
                    asked.show = one_of(&KeyFilter::ALL, &value, KeyFilter::as_str, "show", SHOWS)?
                }
                "sort" => asked.sort = one_of(&Sort::ALL, &value, Sort::as_str, "sort", SORTS)?,
                "order" => {
                    order = Some(one_of(&Order::ALL, &value, Order::as_str, "order", ORDERS)?);
                }
                "page" => asked.page = number(&value, "page")?,
                "accounts" => asked.accounts = Some(number(&value, "accounts")?),
                _ => {}
            }
        }
        asked.order = order.unwrap_or(asked.sort.order());
        Ok(asked)
    }

    /// The query as the end of a URL: `?` and every parameter that is not the default.
    pub fn link(&self) -> String {
        let default = Query::default();
        let mut url = Serializer::for_suffix("?".to_owned(), 1);
        if !self.search.is_empty() {
            url.append_pair("q", &self.search);
        }
        if self.show != default.show {
            url.append_pair("show", self.show.as_str());
        }
        if self.sort != default.sort {
            url.append_pair("sort", self.sort.as_str());
        }
        if self.order != self.sort.order() {
            url.append_pair("order", self.order.as_str());
        }
        if self.page != default.page {
            url.append_pair("page", &self.page.to_string());
        }
        if let Some(accounts) = self.accounts {
            url.append_pair("accounts", &accounts.to_string());
        }
        url.finish()
    }

    /// The same, sorted by this column, or the other way if it is sorted by it already.
    pub fn sorted_by(&self, sort: Sort) -> Query {
        let order = if self.sort == sort { self.order.reverse() } else { sort.order() };
        Query { sort, order, page: 1, ..self.clone() }
    }
}

const SHOWS: &str = "unrotated, due_soon, exempt or all";
const SORTS: &str = "age, due, user, account or last_used";
const ORDERS: &str = "asc or desc";

fn one_of<T: Copy>(
    all: &[T],
    value: &str,
    as_str: fn(T) -> &'static str,
    parameter: &'static str,
    expected: &'static str,
) -> Result<T, InvalidQuery> {
    let found = all.iter().copied().find(|one| as_str(*one) == value);
    found.ok_or(InvalidQuery { parameter, expected })
}

fn number(value: &str, parameter: &'static str) -> Result<usize, InvalidQuery> {
    match value.parse::<u32>() {
        Ok(number) if number > 0 => Ok(number as usize),
        _ => Err(InvalidQuery { parameter, expected: "a whole number from 1 on" }),
    }
}

impl KeyFilter {
    /// Every choice, in the order of the page.
    pub const ALL: [KeyFilter; 4] =
        [KeyFilter::Unrotated, KeyFilter::DueSoon, KeyFilter::Exempt, KeyFilter::All];

    /// The parameter's value.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyFilter::Unrotated => Status::Unrotated.as_str(),
            KeyFilter::DueSoon => Status::DueSoon.as_str(),
            KeyFilter::Exempt => Status::Exempt.as_str(),
            KeyFilter::All => "all",
        }
    }

    /// Whether keys of this status are listed.
    pub fn includes(self, status: Status) -> bool {
        self == KeyFilter::All || self.as_str() == status.as_str()
    }
}

impl Sort {
    /// Every column.
    pub const ALL: [Sort; 5] = [Sort::Age, Sort::Due, Sort::User, Sort::Account, Sort::LastUsed];

    /// The parameter's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Sort::Age => "age",
            Sort::Due => "due",
            Sort::User => "user",
            Sort::Account => "account",
            Sort::LastUsed => "last_used",
        }
    }

    /// The order that is more likely wanted: what is most urgent, or A, first.
    pub fn order(self) -> Order {
        match self {
            Sort::Age => Order::Descending,
            Sort::Due | Sort::User | Sort::Account | Sort::LastUsed => Order::Ascending,
        }
    }
}

impl Order {
    /// Both.
    pub const ALL: [Order; 2] = [Order::Ascending, Order::Descending];

    /// The parameter's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Order::Ascending => "asc",
            Order::Descending => "desc",
        }
    }

    fn reverse(self) -> Order {
        match self {
            Order::Ascending => Order::Descending,
            Order::Descending => Order::Ascending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid(query: &str) -> String {
        Query::parse(query).expect_err(query).to_string()
    }

    #[test]
    fn without_parameters_the_oldest_unrotated_keys_come_first() {
        for query in ["", "q=&show=&sort=&order=&page=&accounts=", "utm=1&x", "&&=&"] {
            assert_eq!(Query::parse(query), Ok(Query::default()), "{query}");
        }
        assert_eq!(Query::default().link(), "?");
    }

    #[test]
    fn every_parameter_is_read_and_linked_to() {
        let query = Query {
            search: "a&b=<c> \"ü\"".to_owned(),
            show: KeyFilter::All,
            sort: Sort::LastUsed,
            order: Order::Descending,
            page: 7,
            accounts: Some(2),
        };
        let link = query.link();
        assert_eq!(
            link,
            "?q=a%26b%3D%3Cc%3E+%22%C3%BC%22&show=all&sort=last_used&order=desc&page=7&accounts=2"
        );
        assert_eq!(Query::parse(&link[1..]), Ok(query));
    }

    #[test]
    fn a_second_click_on_a_column_turns_the_order_and_begins_at_the_first_page() {
        let query = Query::parse("q=x&page=3").expect("a query");
        assert_eq!(query.sorted_by(Sort::Age).link(), "?q=x&order=asc");
        assert_eq!(query.sorted_by(Sort::User).link(), "?q=x&sort=user");
        let by_user = query.sorted_by(Sort::User);
        assert_eq!(by_user.sorted_by(Sort::User).link(), "?q=x&sort=user&order=desc");
    }

    #[test]
    fn an_invalid_parameter_is_reported_in_one_line() {
        assert_eq!(invalid("show=old"), "show must be unrotated, due_soon, exempt or all");
        assert_eq!(invalid("sort=AGE"), "sort must be age, due, user, account or last_used");
        assert_eq!(invalid("order=up"), "order must be asc or desc");
        for page in ["0", "-1", "1.5", "x", "99999999999"] {
            assert_eq!(invalid(&format!("page={page}")), "page must be a whole number from 1 on");
        }
        assert_eq!(invalid("accounts=0"), "accounts must be a whole number from 1 on");
        assert_eq!(invalid(&format!("q={}", "x".repeat(201))), "q must be at most 200 characters");
        assert!(Query::parse(&format!("q={}", "%C3%BC".repeat(200))).is_ok());
    }
}
