// An address that ends in #token=… logs in. What is behind # stays in the browser: no server, proxy or log is told.

const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  history.replaceState(null, "", location.pathname);  // nor shall it stay in the history, or be copied with the address
  const form = document.querySelector("form");
  form.elements.token.value = given;
  form.submit();
}
