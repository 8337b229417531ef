"""Signs messages with zeep: the Body, a Timestamp and every header.

zeep's own BinarySignature leaves the addressing headers out (and uses SHA-1 unless told otherwise), so a message could
be sent elsewhere with it. Needs the package xmlsec.
"""

import datetime
import uuid

import xmlsec
from lxml import etree
from zeep import ns
from zeep.wsse import utils
from zeep.wsse.signature import BinarySignature, _make_sign_key

TOKEN = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3"
BASE64 = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary"


class WholeSignature(BinarySignature):
    def apply(self, envelope, headers):
        security = utils.get_security_header(envelope)
        stamp = utils.WSU.Timestamp()
        now = datetime.datetime.now(datetime.UTC)
        for name, at in (("Created", now), ("Expires", now + datetime.timedelta(minutes=5))):
            stamp.append(utils.WSU(name, at.strftime("%Y-%m-%dT%H:%M:%SZ")))
        certificate = b"".join(self.cert_data.split(b"-----")[2].split()).decode()
        token = utils.WSSE.BinarySecurityToken(certificate, ValueType=TOKEN, EncodingType=BASE64)
        security.extend([token, stamp])
        header = security.getparent()
        body = header.getnext()
        self.sign(envelope, security, token, [body, stamp, *(each for each in header if each is not security)])
        return envelope, headers

    def sign(self, envelope, security, token, parts):
        context = xmlsec.SignatureContext()
        context.key = _make_sign_key(self.key_data, self.cert_data, self.password)
        signature = xmlsec.template.create(envelope, xmlsec.Transform.EXCL_C14N, self.signature_method)
        security.append(signature)
        for part in parts:
            name = f"id-{uuid.uuid4()}"
            part.set(etree.QName(ns.WSU, "Id"), name)
            context.register_id(part, "Id", ns.WSU)
            reference = xmlsec.template.add_reference(signature, xmlsec.Transform.SHA256, uri=f"#{name}")
            xmlsec.template.add_transform(reference, xmlsec.Transform.EXCL_C14N)
        named = utils.WSSE.Reference(URI=f"#{utils.ensure_id(token)}", ValueType=TOKEN)
        xmlsec.template.ensure_key_info(signature).append(utils.WSSE.SecurityTokenReference(named))
        context.sign(signature)

    def verify(self, envelope):
        """The service does not sign its answers: TLS says that they are its own."""
        return envelope
