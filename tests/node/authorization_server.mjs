// A certified authorization server on a loopback port, so that the tests meet
// discovery documents, key sets, tokens and introspection answers that somebody
// else's implementation wrote.
//
//   npm ci
//   node authorization_server.mjs [--path] [--client-jwk '<public JWK>']
//
// Once it serves, one line of JSON with its issuer and endpoints goes to stdout,
// and nothing else ever does. It ends when its stdin is closed.

import { Console } from 'node:console';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

import { Provider, errors } from 'oidc-provider';

// The parent reads stdout as JSON, and the provider writes its notices with
// console.info.
globalThis.console = new Console(process.stderr, process.stderr);

// A parent that crashed closes the pipe: no server is left behind. The timer is
// for a parent that hangs.
for (const event of ['end', 'close', 'error']) {
  process.stdin.on(event, () => process.exit(0));
}
process.stdin.resume();
setTimeout(() => {
  console.error('authorization server: time is up');
  process.exit(1);
}, 10 * 60 * 1000);

const { values: options } = parseArgs({
  options: {
    path: { type: 'boolean', default: false },
    'client-jwk': { type: 'string' },
  },
});

const SCOPES = 'read:data write:data admin:system';

const RESOURCES = {
  'https://api.example/jwt': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } },
  'https://api.example/es': { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } },
  'https://api.example/opaque': { accessTokenFormat: 'opaque' },
};

const TOKEN_LIFETIME = 300;

// The provider warns about its own in-memory store. Expiry needs no work here:
// the provider checks it on everything it finds.
class Store {
  static #entries = new Map();

  #name;

  constructor(name) {
    this.#name = name;
  }

  async upsert(id, payload) {
    Store.#entries.set(`${this.#name}:${id}`, payload);
  }

  async find(id) {
    return Store.#entries.get(`${this.#name}:${id}`);
  }

  async destroy(id) {
    Store.#entries.delete(`${this.#name}:${id}`);
  }
}

function privateJwk(type, parameters, members) {
  const { privateKey } = generateKeyPairSync(type, parameters);
  return { ...privateKey.export({ format: 'jwk' }), ...members };
}

// Grants, response types and redirect URIs have defaults for the browser flows,
// which none of the clients uses.
function client(metadata) {
  return { grant_types: [], response_types: [], redirect_uris: [], ...metadata };
}

const clients = [
  client({
    client_id: 'machine',
    client_secret: 'machine-secret',
    token_endpoint_auth_method: 'client_secret_basic',
    grant_types: ['client_credentials'],
    scope: SCOPES,
  }),
  client({
    client_id: 'api',
    client_secret: 'api-secret',
    token_endpoint_auth_method: 'client_secret_basic',
  }),
  client({
    client_id: 'api-post',
    client_secret: 'api-post-secret',
    token_endpoint_auth_method: 'client_secret_post',
  }),
];
if (options['client-jwk'] !== undefined) {
  clients.push(client({
    client_id: 'api-jwt',
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [JSON.parse(options['client-jwk'])] },
  }));
}

const introspecting = new Set(['api', 'api-post', 'api-jwt']);

const configuration = {
  adapter: Store,
  clients,
  jwks: {
    keys: [
      privateJwk('rsa', { modulusLength: 2048 }, { kid: 'rsa-signing', use: 'sig', alg: 'RS256' }),
      privateJwk('ec', { namedCurve: 'P-256' }, { kid: 'ec-signing', use: 'sig', alg: 'ES256' }),
      // A resource server has to skip this one.
      privateJwk('rsa', { modulusLength: 2048 }, { kid: 'rsa-encryption', use: 'enc', alg: 'RSA-OAEP-256' }),
    ],
  },
  scopes: SCOPES.split(' '),
  ttl: {
    ClientCredentials: (ctx, token) => token.resourceServer?.accessTokenTTL ?? TOKEN_LIFETIME,
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    // The provider refuses an encryption key that it has no use for.
    encryption: { enabled: true },
    introspection: {
      enabled: true,
      allowedPolicy(ctx, caller) {
        // The provider takes a secret from the header or from the form, whichever
        // the client registered. The tests want to know that it came the right way.
        const inHeader = ctx.headers.authorization !== undefined;
        if (inHeader !== (caller.clientAuthMethod === 'client_secret_basic')) {
          throw new errors.InvalidClientAuth('not the registered authentication method');
        }
        return introspecting.has(caller.clientId);
      },
    },
    jwtIntrospection: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(ctx, resource) {
        if (!Object.hasOwn(RESOURCES, resource)) {
          throw new errors.InvalidTarget();
        }
        return {
          ...RESOURCES[resource],
          audience: resource,
          scope: SCOPES,
          accessTokenTTL: TOKEN_LIFETIME,
        };
      },
    },
    revocation: {
      enabled: true,
      allowedPolicy: (ctx, caller, token) => token.clientId === caller.clientId,
    },
  },
};

// The issuer contains the port, so the socket comes before the provider.
const server = createServer();
server.listen(0, '127.0.0.1');
await once(server, 'listening');

const origin = `http://127.0.0.1:${server.address().port}`;
const prefix = options.path ? '/tenants/a' : '';

const provider = new Provider(`${origin}${prefix}`, configuration);
provider.on('server_error', (ctx, error) => console.error(error));

const handle = provider.callback();
server.on('request', (request, response) => {
  if (!request.url.startsWith(`${prefix}/`)) {
    response.writeHead(404).end();
    return;
  }
  // The provider routes on `url`, and takes what `originalUrl` has in front of
  // it for the path it is mounted at.
  request.originalUrl = request.url;
  request.url = request.url.slice(prefix.length);
  handle(request, response);
});

process.stdout.write(`${JSON.stringify({
  issuer: provider.issuer,
  introspection_endpoint: provider.urlFor('introspection'),
  token_endpoint: provider.urlFor('token'),
})}\n`);
