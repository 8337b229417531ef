// A portal in JavaScript with node's package soap: leases a machine, follows it, and gives it back.
// Usage: node portal.js https://HOST:PORT. It trusts the authority in the file CA, and shows CERTIFICATE with KEY or the
// token in TOKEN; with SIGN, messages are signed by KEY besides. It prints one JSON object.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const https = require("https");
const axios = require("axios");
const soap = require("soap");
const { sign } = require("./signing.js");

const base = process.argv[2];
const { CA, CERTIFICATE, KEY, TOKEN, SIGN } = process.env;
const file = (path) => path && fs.readFileSync(path);
const httpsAgent = new https.Agent({ ca: file(CA), cert: file(CERTIFICATE), key: file(KEY) });
const list = (value) => (value === undefined ? [] : [].concat(value)); // soap gives one element as itself
const text = (value) => (value && value.$value) || value;
const address = (reference) => text(reference.Address);

// Returns what calls a service; with an endpoint reference, at its address and with its parameters as headers.
async function service(name, reference) {
  const request = axios.create({ httpsAgent });
  const client = await soap.createClientAsync(`${base}/${name}?wsdl`, { wsdl_options: { httpsAgent }, request });
  if (SIGN) {
    const to = reference ? address(reference) : `${base}/${name}`;
    client.setEndpoint(to);
    sign(client, to, reference ? parameters(reference) : [], { key: file(KEY), certificate: file(CERTIFICATE) });
    return client;
  }
  if (TOKEN) client.setSecurity(new soap.BearerSecurity(TOKEN, { httpsAgent }));
  else client.setSecurity(new soap.ClientSSLSecurity(file(KEY), file(CERTIFICATE), file(CA)));
  if (reference) {
    client.setEndpoint(address(reference));
    for (const [key, value] of parameters(reference)) {
      client.addSoapHeader(`<p:${key} xmlns:p="urn:flyinglow:types:1">${value}</p:${key}>`);
    }
  }
  return client;
}

function parameters(reference) {
  const found = Object.entries(reference.ReferenceParameters || {});
  return found.filter(([key]) => key !== "attributes").map(([key, value]) => [key, text(value)]);
}

// Returns the name, the kind and the figures of a typed fault.
function problem(error) {
  if (!error.root) throw error;
  const detail = Object.entries(error.root.Envelope.Body.Fault.detail).find(([key]) => key !== "attributes");
  const figures = {};
  for (const each of list(detail[1].Figure)) figures[each.attributes.name] = Number(each.$value);
  return { fault: detail[0], kind: detail[1].Kind, retry: String(detail[1].Retryable) === "true", figures };
}

// Returns the states that events numbered above one tell of, waiting up to 20 seconds for the next, and the last number.
async function messages(pull, after) {
  const more = `<fl:After xmlns:fl="urn:flyinglow:types:1">${after}</fl:After><fl:Wait xmlns:fl="urn:flyinglow:types:1">20</fl:Wait>`;
  const [answer] = await pull.GetMessagesAsync({
    _xml: `<wsnt:GetMessages xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2"><wsnt:MaximumNumber>10</wsnt:MaximumNumber>${more}</wsnt:GetMessages>`,
  });
  const changes = list(answer.NotificationMessage).map((each) => each.Message.StateChange);
  const last = Number(answer.Numbers.attributes.last || after);
  return [changes.filter(Boolean).map((change) => text(change.State)), last];
}

async function main() {
  // A token of the client's own makes Create safe to repeat: whoever sends it again gets the same lease.
  const part = { Name: "vm", MemoryMB: 64, CPUs: 1, Disk: [{ Image: "guest" }], NIC: [{ Network: "private" }] };
  const request = { Name: "portal", Part: [part], Lease: { Duration: "PT10M" } };
  const token = () => crypto.randomUUID();
  const factory = await service("factory");
  const create = async (content, name) => {
    const [answer] = await factory.CreateAsync({ ...content, Token: name });
    return list(answer.Resource)[0].EndpointReference;
  };
  const name = token();
  const reference = await create(request, name);
  const same = String(parameters(reference)) === String(parameters(await create(request, name)));

  // Events: a pull point needs no port of the portal's own.
  const workspace = await service("workspace", reference);
  const state = async () => {
    const [found] = await workspace.GetResourcePropertyAsync({ $value: "fl:State" });
    return text(found.State);
  };
  const [made] = await (await service("pullpoints")).CreatePullPointAsync({});
  const pull = await service("pullpoint", made.PullPoint);
  await workspace.SubscribeAsync({ ConsumerReference: { Address: address(made.PullPoint) } });
  const states = [await state()];
  for (let last = 0, more; states.at(-1) !== "Running"; states.push(...more)) {
    [more, last] = await messages(pull, last);
  }

  // Faults have types; what they say is for programs, the text is for people.
  const large = { ...request, Part: [{ ...part, MemoryMB: 1 << 20 }] };
  const too_much = await create(large, token()).then(() => null, problem);
  await workspace.DestroyAsync({});
  const gone = await state().then(() => null, problem);
  console.log(JSON.stringify({ same, states, too_much, gone: gone.fault }));
  httpsAgent.destroy();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
