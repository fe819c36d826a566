use super::*;

fn global() -> Global {
    Global::default()
}

fn contexts() -> Contexts {
    let mut contexts = Contexts {
        current: Some("home".to_owned()),
        ..Contexts::default()
    };
    let context = |url: &str| Context {
        url: Some(url.to_owned()),
        key_file: Some(format!("/{url}.key").into()),
        key_id: Some("from-context".to_owned()),
        timeout: Some("9s".to_owned()),
        suite: Some("encrypted".to_owned()),
        ..Context::default()
    };
    contexts
        .contexts
        .insert("home".to_owned(), context("kv://home"));
    contexts
        .contexts
        .insert("work".to_owned(), context("kv://work"));
    contexts
}

fn environment() -> Environment {
    Environment {
        url: Some("kv://environment".into()),
        key_file: Some("/environment.key".into()),
        key_id: Some("from-environment".into()),
    }
}

#[test]
fn with_nothing_said_it_is_the_local_server() {
    let settings =
        Settings::resolve(&global(), &Environment::default(), &Contexts::default()).unwrap();
    assert_eq!(settings.url, ServerUrl::default());
    assert_eq!(settings.timeout, TIMEOUT);
    assert_eq!(settings.key_file, None);
}

#[test]
fn an_option_wins_over_a_named_context_over_variables_over_the_current_context() {
    let resolve = |global: &Global, environment: &Environment| {
        Settings::resolve(global, environment, &contexts()).unwrap()
    };
    let current = resolve(&global(), &Environment::default());
    assert_eq!(current.url.host, "home");
    assert_eq!(current.suite, Some(Suite::Encrypted));
    assert_eq!(current.timeout, StdDuration::from_secs(9));

    let variables = resolve(&global(), &environment());
    assert_eq!(variables.url.host, "environment");
    assert_eq!(variables.key_file, Some("/environment.key".into()));
    assert_eq!(variables.suite, None);

    let mut named = global();
    named.server.context = Some("work".to_owned());
    let settings = resolve(&named, &environment());
    assert_eq!(settings.url.host, "work");
    assert_eq!(settings.key_id.as_deref(), Some("from-context"));

    named.server.url = Some("kv://in-url@option".to_owned());
    let settings = resolve(&named, &environment());
    assert_eq!(settings.url.host, "option");
    assert_eq!(settings.key_id.as_deref(), Some("in-url"));
    named.identity.key_id = Some("from-option".to_owned());
    let settings = resolve(&named, &environment());
    assert_eq!(settings.key_id.as_deref(), Some("from-option"));
}

#[test]
fn an_unknown_context_is_named_even_when_an_option_would_win() {
    let mut unknown = global();
    unknown.server.context = Some("nowhere".to_owned());
    unknown.server.url = Some("kv://option".to_owned());
    let error = Settings::resolve(&unknown, &Environment::default(), &contexts()).unwrap_err();
    assert_eq!(error.code(), Code::CONTEXT);
}

#[test]
fn options_that_do_not_fit_together_are_refused() {
    let resolve =
        |global: &Global| Settings::resolve(global, &Environment::default(), &Contexts::default());
    let mut tls = global();
    tls.server.ca = Some("ca.crt".into());
    assert!(resolve(&tls).is_err());
    tls.server.url = Some("kvs://db".to_owned());
    assert!(resolve(&tls).is_ok());
    tls.identity.cert = Some("c.crt".into());
    assert!(resolve(&tls).is_err());
}
