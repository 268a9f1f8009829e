// Loaded into Supabase Lite before it starts: lets frontends on other ports sign in, as a hosted project does.
// Lite 0.10 answers /auth/v1 without CORS headers, so a browser app could not read what it got.

import http from 'node:http';

const emit = http.Server.prototype.emit;

http.Server.prototype.emit = function emitWithCors(event, request, response, ...rest) {
  if (event !== 'request' || !request.headers.origin) return emit.call(this, event, request, response, ...rest);
  response.setHeader('Access-Control-Allow-Origin', '*');
  response.setHeader('Access-Control-Expose-Headers', 'Content-Range, Location, Preference-Applied');
  if (request.method !== 'OPTIONS' || !request.headers['access-control-request-method']) {
    return emit.call(this, event, request, response, ...rest);
  }
  response.setHeader('Access-Control-Allow-Methods', 'GET, HEAD, POST, PUT, PATCH, DELETE');
  response.setHeader('Access-Control-Allow-Headers', request.headers['access-control-request-headers'] ?? '');
  response.setHeader('Access-Control-Max-Age', '3600');
  response.writeHead(204).end();
  return true;
};
