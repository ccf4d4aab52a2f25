// An address that ends in #token=… logs in. What is behind # stays in the browser: no server, proxy or log is told.

const given = location.hash.startsWith("#token=") ? location.hash.slice(7) : "";  // as it is: a token may have a +
if (given) {
  history.replaceState(null, "", location.pathname);  // nor shall it stay in the history, or be copied with the address
  const form = document.querySelector("form");
  form.elements.token.value = given;
  form.submit();
}
