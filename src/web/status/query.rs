//! The status page's parameters: which keys (`account`, `user`, `key`, `id`, `tag`, `kind`, `q`, `show`), in
//! which order (`sort`, `order`, `page`), and which accounts (`state`, `find`, `accounts_sort`, `accounts`).

use std::str::FromStr;

use form_urlencoded::{Serializer, parse};

use super::choices::{AccountFilter, AccountSort, InvalidQuery, KeyFilter, KeyKind, Order, Sort};
use crate::config::TagLabel;

/// The parameters of the status page.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Query {
    /// The id of an account. Empty: all accounts.
    pub account: String,
    /// The name of a user. Empty: all users.
    pub user: String,
    /// The slot of a key.
    pub key: Option<u8>,
    /// The id of a key. Empty: any.
    pub id: String,
    /// Tags with their values. An empty value: users without the tag.
    pub tags: Vec<(String, String)>,
    /// Whether users have none of the other tags that are labels.
    pub no_other_tags: bool,
    /// Which kind of keys. `None`: all.
    pub kind: Option<KeyKind>,
    /// Words that must all be in the key's row, ignoring case.
    pub search: String,
    /// Which keys.
    pub show: KeyFilter,
    /// By which column they are sorted.
    pub sort: Sort,
    /// In which order.
    pub order: Order,
    /// Which page of the keys, from 1.
    pub page: usize,
    /// Which accounts.
    pub state: Option<AccountFilter>,
    /// Words that must all be in the account's row, ignoring case.
    pub find: String,
    /// How accounts are sorted.
    pub accounts_sort: AccountSort,
    /// Which page of the accounts, from 1. `None`: the first, and folded if all are ok.
    pub accounts: Option<usize>,
}

/// The longest value of a parameter that is a text, in characters. A tag has a key of at most 128, a colon, and a
/// value of at most 256.
pub const MAX_TEXT: usize = 400;
/// The greatest number of tags.
const MAX_TAGS: usize = 10;
/// The defaults, which links leave out.
const DEFAULTS: [(&str, &str); 4] =
    [("show", "unrotated"), ("sort", "age"), ("page", "1"), ("accounts_sort", "state")];

impl Default for Query {
    fn default() -> Query {
        Query {
            account: String::new(),
            user: String::new(),
            key: None,
            id: String::new(),
            tags: Vec::new(),
            no_other_tags: false,
            kind: None,
            search: String::new(),
            show: KeyFilter::Unrotated,
            sort: Sort::Age,
            order: Sort::Age.order(),
            page: 1,
            state: None,
            find: String::new(),
            accounts_sort: AccountSort::State,
            accounts: None,
        }
    }
}

impl Query {
    /// Reads the part of a URL after `?`. An empty parameter counts as missing, an unknown one is
    /// ignored, and if one is given twice the last counts. Only `tag` can be given several times.
    pub fn parse(query: &str) -> Result<Query, InvalidQuery> {
        let (mut asked, mut order) = (Query::default(), None);
        for (name, value) in parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
            match &*name {
                "account" => asked.account = text(&value, "account")?,
                "user" => asked.user = text(&value, "user")?,
                "key" => asked.key = Some(number(&value, "key")?),
                "id" => asked.id = text(&value, "id")?,
                "tag" if asked.tags.len() == MAX_TAGS => {
                    return Err(InvalidQuery::new("tag", "given at most 10 times"));
                }
                "tag" => asked.tags.push(tag(&text(&value, "tag")?)?),
                "other_tags" if value == "none" => asked.no_other_tags = true,
                "other_tags" => return Err(InvalidQuery::new("other_tags", "none")),
                "kind" => asked.kind = Some(KeyKind::parse(&value)?),
                "q" => asked.search = text(value.trim(), "q")?,
                "show" => asked.show = KeyFilter::parse(&value)?,
                "sort" => asked.sort = Sort::parse(&value)?,
                "order" => order = Some(Order::parse(&value)?),
                "page" => asked.page = number::<u32>(&value, "page")? as usize,
                "state" => asked.state = Some(AccountFilter::parse(&value)?),
                "find" => asked.find = text(value.trim(), "find")?,
                "accounts_sort" => asked.accounts_sort = AccountSort::parse(&value)?,
                "accounts" => asked.accounts = Some(number::<u32>(&value, "accounts")? as usize),
                _ => {}
            }
        }
        asked.order = order.unwrap_or(asked.sort.order());
        Ok(asked)
    }

    /// The parameters that are not the default, with their values.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let order = if self.order == self.sort.order() { "" } else { self.order.as_str() };
        let other_tags = if self.no_other_tags { "none" } else { "" };
        let state = self.state.map_or("", AccountFilter::as_str);
        let mut all = vec![
            ("account", self.account.clone()),
            ("user", self.user.clone()),
            ("key", self.key.map_or(String::new(), |key| key.to_string())),
            ("id", self.id.clone()),
        ];
        all.extend(self.tags.iter().map(|(key, value)| ("tag", format!("{key}:{value}"))));
        all.extend([
            ("other_tags", other_tags.to_owned()),
            ("kind", self.kind.map_or("", KeyKind::as_str).to_owned()),
            ("q", self.search.clone()),
            ("show", self.show.as_str().to_owned()),
            ("sort", self.sort.as_str().to_owned()),
            ("order", order.to_owned()),
            ("page", self.page.to_string()),
            ("state", state.to_owned()),
            ("find", self.find.clone()),
            ("accounts_sort", self.accounts_sort.as_str().to_owned()),
            ("accounts", self.accounts.map_or(String::new(), |page| page.to_string())),
        ]);
        all.retain(|(name, value)| !value.is_empty() && !DEFAULTS.contains(&(name, value)));
        all
    }

    /// The query as the end of a URL: `?` and every parameter that is not the default.
    pub fn link(&self) -> String {
        let mut url = Serializer::for_suffix("?".to_owned(), 1);
        url.extend_pairs(self.parameters());
        url.finish()
    }

    /// The same, sorted by this column, or the other way if it is sorted by it already.
    pub fn sorted_by(&self, sort: Sort) -> Query {
        let order = if self.sort == sort { self.order.reverse() } else { sort.order() };
        Query { sort, order, page: 1, ..self.clone() }
    }

    /// The same keys, but of this kind.
    pub fn of_kind(&self, kind: KeyKind) -> Query {
        Query { kind: Some(kind), ..self.clone() }
    }

    /// The same keys, but of this status.
    pub fn showing(&self, show: KeyFilter) -> Query {
        Query { show, page: 1, ..self.clone() }
    }

    /// The same keys. Without tags that are labels, no user has others of them.
    pub fn with_labels(&self, labels: &[TagLabel]) -> Query {
        Query { no_other_tags: self.no_other_tags && !labels.is_empty(), ..self.clone() }
    }

    /// The keys of any kind and status that it selects, in words such as `team=payments, backup`. Empty:
    /// all.
    pub fn subject(&self) -> String {
        self.subject_with("no")
    }

    /// The same, with this word before a tag that users do not have.
    pub fn subject_with(&self, no: &str) -> String {
        let mut words: Vec<String> = [&self.account, &self.user]
            .into_iter()
            .filter(|text| !text.is_empty())
            .cloned()
            .collect();
        words.extend(self.key.map(|key| format!("key {key}")));
        words.extend((!self.id.is_empty()).then(|| self.id.clone()));
        words.extend(self.tags.iter().map(|(key, value)| match value.as_str() {
            "" => format!("{no} {key}"),
            value => format!("{key}={value}"),
        }));
        let tag = if self.tags.is_empty() { "tag" } else { "other tag" };
        words.extend(self.no_other_tags.then(|| format!("{no} {tag}")));
        if !self.search.is_empty() {
            words.push(format!("\u{201c}{}\u{201d}", self.search));
        }
        words.join(", ")
    }
}

fn text(value: &str, parameter: &'static str) -> Result<String, InvalidQuery> {
    if value.chars().count() > MAX_TEXT {
        return Err(InvalidQuery::new(parameter, format!("at most {MAX_TEXT} characters")));
    }
    Ok(value.to_owned())
}

fn tag(value: &str) -> Result<(String, String), InvalidQuery> {
    let (key, value) = value.split_once(':').ok_or_else(|| {
        InvalidQuery::new("tag", "a key, a colon and a value, such as team:payments")
    })?;
    Ok((key.to_owned(), value.to_owned()))
}

fn number<T: FromStr + Default + PartialOrd>(
    value: &str,
    parameter: &'static str,
) -> Result<T, InvalidQuery> {
    let number = value.parse().ok().filter(|number| *number > T::default());
    number.ok_or_else(|| InvalidQuery::new(parameter, "a whole number from 1 on"))
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
            account: "123456789012".to_owned(),
            user: "ci&cd".to_owned(),
            key: Some(2),
            id: "ACCA1".to_owned(),
            tags: vec![("team".to_owned(), "a:b".to_owned()), ("owner".to_owned(), String::new())],
            no_other_tags: true,
            kind: Some(KeyKind::AccessKey),
            search: "a&b=<c> \"ü\"".to_owned(),
            show: KeyFilter::All,
            sort: Sort::LastUsed,
            order: Order::Descending,
            page: 7,
            state: Some(AccountFilter::Unread),
            find: "access_denied".to_owned(),
            accounts_sort: AccountSort::Report,
            accounts: Some(2),
        };
        let link = query.link();
        assert_eq!(
            link,
            "?account=123456789012&user=ci%26cd&key=2&id=ACCA1&tag=team%3Aa%3Ab&tag=owner%3A&other_tags=none\
             &kind=access_key&q=a%26b%3D%3Cc%3E+%22%C3%BC%22&show=all&sort=last_used&order=desc&page=7\
             &state=unread&find=access_denied&accounts_sort=report&accounts=2"
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
        assert_eq!(
            invalid("show=old"),
            "show must be unrotated, due_soon, exempt, exemption_ending, never_used, not_judged, all or every"
        );
        assert_eq!(invalid("sort=AGE"), "sort must be age, due, user, account, owner or last_used");
        assert_eq!(invalid("order=up"), "order must be asc or desc");
        for page in ["0", "-1", "1.5", "x", "99999999999"] {
            assert_eq!(invalid(&format!("page={page}")), "page must be a whole number from 1 on");
        }
        assert_eq!(invalid("other_tags=all"), "other_tags must be none");
        assert_eq!(invalid("kind=key"), "kind must be access_key or service_credential");
        assert_eq!(invalid("key=0"), "key must be a whole number from 1 on");
        assert_eq!(invalid("state=bad"), "state must be failing, degraded, unread, pending or ok");
        assert_eq!(
            invalid("tag=team"),
            "tag must be a key, a colon and a value, such as team:payments"
        );
        assert_eq!(invalid(&"tag=a:b&".repeat(11)), "tag must be given at most 10 times");
        assert_eq!(invalid("accounts=0"), "accounts must be a whole number from 1 on");
        assert_eq!(invalid(&format!("q={}", "x".repeat(401))), "q must be at most 400 characters");
        assert!(Query::parse(&format!("q={}", "%C3%BC".repeat(400))).is_ok());
    }
}
