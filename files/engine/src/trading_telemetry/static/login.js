// An address that ends in #token=… logs in. What is behind # stays in the browser: no server, proxy or log is told.
// The partition that was asked for is asked for again behind the login.

const form = document.querySelector("form");
form.action = `/login${location.search}`;
const given = location.hash.startsWith("#token=") ? location.hash.slice(7) : "";  // as it is: a token may have a +
if (given) {
  history.replaceState(null, "", location.pathname + location.search);  // nor shall it stay in the history, or be copied with the address
  form.elements.token.value = given;
  form.submit();
}
