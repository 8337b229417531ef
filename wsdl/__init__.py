"""The WSDL documents of the contract, written by hand.

They are published as they lie here, except for ``soap:address``, which comes from the site's configuration.
"""
