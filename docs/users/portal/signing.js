// Signs messages of node's package soap: the Body, a Timestamp and every header.
// Its WSSecurityCert signs the headers that it is told of, by their prefix and name, each once in a message; so it is made
// anew for each message, with all of them.
"use strict";
const crypto = require("crypto");
const soap = require("soap");

const WSA = "http://www.w3.org/2005/08/addressing";
const EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#";

// Lets every message that the client sends from now on be addressed and signed; `parameters` are more headers, by name.
function sign(client, to, parameters, { key, certificate }) {
  const stems = actions(client);
  for (const name of Object.keys(stems)) {
    const send = client[`${name}Async`].bind(client);
    client[`${name}Async`] = (...request) => {
      const headers = { "wsa:To": to, "wsa:Action": stems[name], "wsa:MessageID": `urn:uuid:${crypto.randomUUID()}` };
      client.clearSoapHeaders();
      for (const [header, value] of Object.entries(headers)) {
        client.addSoapHeader(`<${header} xmlns:wsa="${WSA}">${value}</${header}>`);
      }
      for (const [header, value] of parameters) {
        client.addSoapHeader(`<p:${header} xmlns:p="urn:flyinglow:types:1">${value}</p:${header}>`);
      }
      const names = [...Object.keys(headers), ...parameters.map(([header]) => `p:${header}`)];
      client.setSecurity(
        new soap.WSSecurityCert(key, certificate, "", {
          hasTimeStamp: true,
          signatureAlgorithm: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
          signatureTransformations: [EXCLUSIVE],
          additionalReferences: names,
          signerOptions: { idMode: "wssecurity" },
        }),
      );
      return send(...request);
    };
  }
}

// Returns the action of each operation's message, as the WSDL says it for the binding in use.
function actions(client) {
  const [service] = Object.values(client.wsdl.definitions.services);
  const [port] = Object.values(service.ports);
  return Object.fromEntries(Object.entries(port.binding.methods).map(([name, each]) => [name, each.soapAction]));
}

module.exports = { sign };
