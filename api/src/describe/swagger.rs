//! Swagger UI under `/docs`. The page is ours, because the one that comes with the library expects to be redirected to
//! and runs a script in its text, which our policy forbids; scripts and styles are the library's, from our own binary.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use utoipa_swagger_ui::Config;

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hubbub</title>
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"#;

/// No validator badge: it would send the address of the document to somebody else's server.
const START: &str = r##"window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"##;

/// What the page needs of the library's files.
const FILES: [&str; 3] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];

/// They change with the binary alone, and are two megabytes.
const KEEP_AN_HOUR: &str = "public, max-age=3600";

pub(super) fn routes<S>() -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    Router::new().route("/docs", get(page)).route("/docs/{file}", get(file))
}

async fn page() -> Html<&'static str> {
    Html(PAGE)
}

async fn file(Path(name): Path<String>) -> Response {
    let javascript = "text/javascript; charset=utf-8";
    if name == "start.js" {
        return ([(header::CONTENT_TYPE, javascript)], START).into_response();
    }
    let Some(name) = FILES.into_iter().find(|known| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match utoipa_swagger_ui::serve(name, Arc::new(Config::from("/openapi.json"))) {
        Ok(Some(file)) => {
            let headers =
                [(header::CONTENT_TYPE, file.content_type), (header::CACHE_CONTROL, KEEP_AN_HOUR.to_owned())];
            (headers, file.bytes.into_owned()).into_response()
        }
        Ok(None) | Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}
