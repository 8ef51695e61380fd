// Node's agents look up no name but localhost; what they tried is written into $ASKED_OUTSIDE.
const dns = require("node:dns");
const { appendFileSync } = require("node:fs");

const LOCAL = new Set(["localhost", "127.0.0.1", "::1", "0.0.0.0"]);

function refused(host) {
  appendFileSync(process.env.ASKED_OUTSIDE, `${host}\n`);
  return Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), { code: "ENOTFOUND", hostname: host });
}

const { lookup } = dns;
dns.lookup = (host, options, callback) => {
  if (LOCAL.has(host)) return lookup(host, options, callback);
  process.nextTick(typeof options === "function" ? options : callback, refused(host));
};
const promised = dns.promises.lookup;
dns.promises.lookup = async (host, options) => {
  if (LOCAL.has(host)) return promised(host, options);
  throw refused(host);
};
