//! URLs without their secrets: a user's name and password before the host, and the query, which may carry more.

/// The part of a URL that is stored and printed: without userinfo, query and fragment (RFC 3986).
pub fn public(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{scheme}://{}{path}", host(authority))
}

/// A message without the userinfo of the URLs in it.
pub fn without_userinfo(text: &str) -> String {
    let mut parts = text.split("://");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| matches!(c, '/' | '?' | '#' | '"' | '\'' | '`') || c.is_whitespace());
        let (authority, rest) = part.split_at(end.unwrap_or(part.len()));
        out.extend(["://", host(authority), rest]);
    }
    out
}

/// A password may hold an `@` that is not escaped.
fn host(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// A name as one segment of a URL's path: it ends nothing and begins nothing.
pub fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b if b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&b) => out.push(char::from(b)),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_in_a_url_is_left_out() {
        let table = [
            ("https://host/a/b.tar.gz", "https://host/a/b.tar.gz"),
            ("http://user:s3cr3t@host:1/a", "http://host:1/a"),
            ("https://token@host", "https://host"),
            ("https://u:p@ss@host/a@b", "https://host/a@b"),
            ("https://host/a?sig=s3cr3t#x", "https://host/a"),
            ("https://u:p@host?a=/b", "https://host"),
            ("s3://bucket/a", "s3://bucket/a"),
            ("/home/ada/a?b@c#d", "/home/ada/a?b@c#d"),
        ];
        table.iter().for_each(|(url, shown)| assert_eq!(public(url), *shown));
    }

    #[test]
    fn a_message_keeps_all_but_the_userinfo() {
        let said = "unable to access 'https://u:s3cr3t@host/a/': no http://t@b, ada@host";
        assert_eq!(without_userinfo(said), "unable to access 'https://host/a/': no http://b, ada@host");
        assert_eq!(without_userinfo("as it is"), "as it is");
    }

    #[test]
    fn a_name_in_a_url_is_one_segment_of_its_path() {
        assert_eq!(segment("noir-01_a.tar.gz"), "noir-01_a.tar.gz");
        assert_eq!(segment("{a,b}[1-9]?c#d%/\\ \"ü"), "%7Ba,b%7D%5B1-9%5D%3Fc%23d%25%2F%5C%20%22%C3%BC");
    }
}
