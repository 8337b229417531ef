"""The client library: lease, watch and end virtual machines and clusters over SOAP, from Python.

It speaks the published contract through zeep and knows nothing of how the service is built: it imports neither
spyne nor sqlalchemy nor twisted, and nothing from the service's own folders but the contract.
"""
