// A real OpenID Connect issuer for tests: oidc-provider, one client, whoever the login form names.
import Provider from "oidc-provider";

const [port, redirectUri] = process.argv.slice(2);
const people = JSON.parse(process.env.PEOPLE);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: "fjord",
    client_secret: "a secret of the test",
    redirect_uris: [redirectUri],
    grant_types: ["authorization_code"],
    response_types: ["code"],
  }],
  pkce: { required: () => true },
  claims: { openid: ["sub"], profile: ["name", "groups"], email: ["email", "email_verified"] },
  scopes: ["openid", "profile", "email"],
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
  features: { devInteractions: { enabled: true } },
  cookies: { keys: ["of the test"] },
});
const server = provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
process.stdin.resume();
process.stdin.on("end", () => { server.close(); process.exit(0); });
