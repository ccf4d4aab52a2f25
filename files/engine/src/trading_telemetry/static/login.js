// An address that ends with #token=… logs in at once. Browsers do not send the part after #, so that no proxy or log gets
// the token in the address. After the login, the page shows the partition of the address.

const form = document.querySelector("form");
form.action = `/login${location.search}`;
const given = location.hash.startsWith("#token=") ? location.hash.slice(7) : "";  // not decoded, because a token may contain +
if (given) {
  history.replaceState(null, "", location.pathname + location.search);  // remove the token from the history and the address
  form.elements.token.value = given;
  form.submit();
}
