"""Everything SOAP that is not one service's business.

Safe parsing, schema validation, routing, WS-Addressing, resource properties, lifetime, base faults and the
transport. Together with the ``soap`` module of each service this is the only place that knows Spyne.
"""
